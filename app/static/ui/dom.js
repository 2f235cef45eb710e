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

/* An element that already has the text is left alone, since setting it again would lay it out again. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
