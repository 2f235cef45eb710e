/* The example scenes below the image. */

import { node } from "./dom.js";

export function examples(element, trigger) {
  const button = (example, index) =>
    node(
      "button",
      {
        type: "button",
        class: "example",
        title: example.question,
        "aria-label": "Example: " + example.question,
        on: { click: () => trigger("choose", { index }) },
      },
      [node("img", { src: example.picture, alt: "", width: 64, height: 64 })],
    );
  return (value) => {
    const group = { class: "examples", role: "group", "aria-label": "Example scenes" };
    element.replaceChildren(node("div", group, value.examples.map(button)));
  };
}
