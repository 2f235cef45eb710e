/* A labeled menu of a few entries. */

import { node } from "./dom.js";

/* entries: [value, text]. choose: called with the chosen value, as text. */
export function menu(label, entries, chosen, choose) {
  const options = entries.map(([value, text]) => node("option", { value, text, selected: value === chosen }));
  const on = { change: (event) => choose(event.target.value) };
  const select = node("select", { "aria-label": label, on }, options);
  return node("label", { class: "tool tool-" + label.toLowerCase() }, [node("span", { text: label }), select]);
}
