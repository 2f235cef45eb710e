/* The offer of a real model: what it costs, one button, and in the button's place how far it is. */
(function () {
  "use strict";
  const adafv = window.adafv, node = adafv.node;

  adafv.part("offer", function (element, trigger) {
    const text = node("span", { class: "offer-text" }), cost = node("span", { class: "offer-cost" });
    const bar = node("progress", { max: 1, "aria-label": "Loading the model" }), told = node("span", { class: "offer-told" });
    const button = node("button", { type: "button", class: "offer-button", on: { click: () => trigger("take", {}) } });
    const words = node("p", {}, [text, " ", cost]), progress = node("div", { class: "offer-progress", hidden: true }, [told, bar]);
    const root = node("section", { class: "offer", "aria-label": "A real model", hidden: true }, [words, progress, button]);
    element.replaceChildren(root);

    return function (value) {
      root.hidden = !value.shown;
      text.textContent = value.text;
      cost.textContent = value.cost;
      button.textContent = value.button;
      words.hidden = button.hidden = Boolean(value.progress);
      progress.hidden = !value.progress;
      if (!value.progress) return;
      told.textContent = value.progress.text;
      if (value.progress.share === null) bar.removeAttribute("value");
      else bar.value = value.progress.share;
    };
  });
})();
