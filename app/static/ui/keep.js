/* The keep-ratio control: a slider whose every stop has its budget, chips, and the count. */
(function () {
  "use strict";
  const adafv = window.adafv, page = adafv.page, node = adafv.node, format = adafv.format, write = adafv.write;
  const CHIPS = [[0.25, "−75 %"], [0.1, "−90 %"], [0.05, "−95 %"]];
  const SETTLE_MS = 900;

  adafv.part("keep", function (element, trigger) {
    let timer = 0;
    const slider = node("input", { type: "range", min: 0, max: 1, step: 1, value: 0, id: "keep-slider",
      "aria-label": "Keep ratio: share of visual tokens the model is given" });
    const count = node("output", { class: "keep-count", for: "keep-slider" });
    const cut = node("span", { class: "keep-cut" });
    const ticks = node("div", { class: "keep-ticks", "aria-hidden": "true" });
    const chips = CHIPS.map(([ratio, label]) => node("button", { type: "button", class: "chip", text: label,
      "aria-label": "Keep " + Math.round(100 * ratio) + " percent", "aria-pressed": "false",
      on: { click: () => move(page.nearest(page.scores.stops, ratio)) } }));
    const live = node("input", { type: "checkbox", id: "answer-while-sliding", checked: true });
    element.replaceChildren(node("div", { class: "keep" }, [
      node("div", { class: "keep-head" }, [node("label", { for: "keep-slider", class: "field-name", text: "Keep ratio" }), count, cut]),
      slider, ticks,
      node("div", { class: "keep-foot" }, [...chips, node("label", { class: "tick-box" }, [live, " answer while sliding"])]),
    ]));

    function move(stop) {
      page.moveTo(stop);
      settle();
    }
    function settle() {
      clearTimeout(timer);
      if (live.checked && !page.scores.from_file) timer = setTimeout(() => { if (!page.result.problem) trigger("settle"); }, SETTLE_MS);
    }
    slider.addEventListener("input", () => move(Number(slider.value)));

    function fill() {
      const stops = page.scores.stops;
      slider.max = stops.length - 1;
      ticks.replaceChildren(...[0.01, 0.05, 0.1, 0.25, 0.5, 1].map(function (ratio) {
        const at = page.nearest(stops, ratio) / (stops.length - 1);
        return node("span", { text: Math.round(100 * ratio) + "", style: "left:calc(9px + " + at + " * (100% - 18px))" });
      }));
    }
    function show() {
      const scores = page.scores, stop = scores.stops[page.stop], result = page.result;
      const kept = result.problem ? stop.budget : result.size, of = " of " + scores.n + " visual tokens";
      slider.value = page.stop;
      slider.style.setProperty("--at", page.stop / (scores.stops.length - 1));
      write(count, (result.problem ? "budget " : "") + kept + of);
      write(cut, kept === scores.n ? "all kept" : "−" + format.percent(1 - kept / scores.n));
      slider.setAttribute("aria-valuetext", format.exact(stop.ratio) + (result.problem ? ": " + result.problem : " kept, " + kept + of));
      chips.forEach((chip, i) => chip.setAttribute("aria-pressed", String(Math.abs(stop.ratio - CHIPS[i][0]) < 1e-9)));
    }
    page.on(function (what) {
      if (what === "scores") fill();
      if (what === "scores" || what === "budget" || what === "forced") show();
      if (what === "forced") settle();
      if (what === "asked" || what === "halted" || (what === "scores" && page.scores.from_file)) clearTimeout(timer);
    });
    if (page.scores) { fill(); show(); }
    return function () {};
  });
})();
