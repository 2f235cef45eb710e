/* The line under a map: its colors from low to high, and the values they stand for. */
(function () {
  "use strict";
  const adafv = window.adafv, node = adafv.node, write = adafv.write;
  const STEPS = [0, 51, 102, 153, 204, 255];

  /* split: whether the colors have a gap in the middle, between dropped and kept. */
  adafv.legend = function (split) {
    const ramp = node("i", { class: "ramp" });
    const ticks = ["low", "middle", "high"].map((name) => node("span", { class: "tick tick-" + name }));
    const root = node("div", { class: "panel-foot legend" + (split ? " legend-split" : "") }, [ramp, ...ticks]);

    /* What adafv.scale found; null where nothing is drawn. */
    function show(scale) {
      ticks.forEach((tick, i) => write(tick, scale ? scale.ticks[i] : ""));
      ramp.style.visibility = scale ? "" : "hidden";
      const said = scale ? scale.said : "";
      if (root.title !== said) root.title = said;
    }
    function paint(table) {
      const at = (i) => "rgb(" + table[3 * i] + "," + table[3 * i + 1] + "," + table[3 * i + 2] + ")";
      ramp.style.backgroundImage = "linear-gradient(90deg," + STEPS.map(at).join(",") + ")";
    }
    return { root: root, show: show, paint: paint };
  };
})();
