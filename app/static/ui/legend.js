/* The line below a map: its colors from low to high, and the values they stand for. */

import { node, write } from "./dom.js";

const STEPS = [0, 51, 102, 153, 204, 255];

/* split: whether the colors have a gap in the middle, between dropped and kept. */
export function makeLegend(split) {
  const ramp = node("i", { class: "ramp" });
  const ticks = ["low", "middle", "high"].map((name) => node("span", { class: "tick tick-" + name }));
  const root = node("div", { class: "panel-foot legend" + (split ? " legend-split" : "") }, [ramp, ...ticks]);

  /* scale: what `plain` or `mixed` of core/scale.js returned; null where nothing is drawn. */
  function show(scale) {
    ticks.forEach((tick, i) => write(tick, scale ? scale.ticks[i] : ""));
    ramp.style.visibility = scale ? "" : "hidden";
    const caption = scale ? scale.caption : "";
    if (root.title !== caption) root.title = caption;
  }

  /* table: 256 colors as red, green and blue bytes. */
  function paint(table) {
    const at = (i) => `rgb(${table[3 * i]},${table[3 * i + 1]},${table[3 * i + 2]})`;
    ramp.style.backgroundImage = "linear-gradient(90deg," + STEPS.map(at).join(",") + ")";
  }

  return { root, show, paint };
}
