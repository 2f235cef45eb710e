/* Makes elements. Text from anywhere reaches the page through textContent only. */

/* options: attributes; `text` is the text content, `on` maps event names to listeners; true sets an empty attribute,
   false, null and undefined leave it out. */
export function node(tag, options, children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(options || {})) {
    if (name === "text") made.textContent = value;
    else if (name === "on") Object.entries(value).forEach(([event, run]) => made.addEventListener(event, run));
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  for (const child of children || []) made.append(child);
  return made;
}

/* Browsers without a clipboard for scripts (a page over plain HTTP) copy what is selected. */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = node("textarea", { class: "sr-only", text });
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
}

/* An element that already has the text is left alone, since setting it again would lay it out again; other text takes
   its place in the same node. */
export function write(element, text) {
  const only = element.childNodes.length === 1 && element.firstChild;
  if (only && only.nodeType === Node.TEXT_NODE) {
    if (only.data !== text) only.data = text;
  } else if (element.textContent !== text) element.textContent = text;
}

/* Setting the attribute again would compute the style again. SVG elements have no `hidden` property. */
export function hide(element, hidden) {
  if (element.hasAttribute("hidden") !== Boolean(hidden)) element.toggleAttribute("hidden", Boolean(hidden));
}

/* The same for any attribute. */
export function mark(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}
