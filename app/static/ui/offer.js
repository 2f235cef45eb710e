/* The offer to load a real model: what it costs, one button, and in the button's place the progress of loading. */

import { node } from "./dom.js";

export function offer(element, trigger) {
  const text = node("span", { class: "offer-text" });
  const cost = node("span", { class: "offer-cost" });
  const bar = node("progress", { max: 1, "aria-label": "Loading the model" });
  const status = node("span", { class: "offer-status" });
  const button = node("button", {
    type: "button",
    class: "offer-button",
    on: { click: () => trigger("take", {}) },
  });
  const words = node("p", {}, [text, " ", cost]);
  const loading = node("div", { class: "offer-progress", hidden: true }, [status, bar]);
  const root = node("section", { class: "offer", "aria-label": "A real model", hidden: true }, [
    words,
    loading,
    button,
  ]);
  element.replaceChildren(root);

  return (value) => {
    root.hidden = !value.shown;
    text.textContent = value.text;
    cost.textContent = value.cost;
    button.textContent = value.button;
    words.hidden = button.hidden = Boolean(value.progress);
    loading.hidden = !value.progress;
    if (!value.progress) return;
    status.textContent = value.progress.text;
    if (value.progress.share === null) bar.removeAttribute("value");
    else bar.value = value.progress.share;
  };
}
