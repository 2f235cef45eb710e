/* How far a sweep, a study or a model's loading is. */

import { node } from "./dom.js";

export function progress(element) {
  const bar = node("progress", { max: 1, value: 0, "aria-label": "Progress" });
  const text = node("span");
  const root = node("div", { class: "progress", hidden: true }, [bar, text]);
  element.replaceChildren(root);
  return (value) => {
    root.hidden = !value.text;
    bar.hidden = value.share === null;
    bar.value = value.share || 0;
    text.textContent = value.text || "";
  };
}
