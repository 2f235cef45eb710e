/* The line above the tabs' content: what went wrong or has changed. */

import { node } from "./dom.js";
import { page } from "./state.js";

/* One click loads the model that the line names; the line then shows the progress. */
function offerButton({ model, button }, trigger) {
  const click = (event) => {
    event.target.disabled = true;
    trigger("take", { model });
  };
  return node("button", { type: "button", class: "offer-button", text: button, on: { click } });
}

export function notice(element, trigger) {
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
    if (value.offer) line.append(" ", offerButton(value.offer, trigger));
    if (value.asked && value.level === "error") page.answered(value.asked);
  };
}
