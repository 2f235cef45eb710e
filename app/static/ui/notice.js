/* The line above the tabs' content: what went wrong or has changed. */

import { node } from "./dom.js";
import { page } from "./state.js";

export function notice(element) {
  const line = node("p", {
    class: "notice",
    role: "status",
    "aria-live": "polite",
    hidden: true,
  });
  element.replaceChildren(line);
  page.on((what) => {
    if (what === "saving" && line.dataset.of === "saving") line.hidden = true;
  });
  return (value) => {
    line.dataset.of = value.of || "";
    line.hidden = !value.text;
    line.dataset.level = value.level || "info";
    line.setAttribute("role", value.level === "error" ? "alert" : "status");
    line.textContent = value.text || "";
    if (value.asked && value.level === "error") page.answered(value.asked);
  };
}
