/* The keep-ratio control: a slider, each position with its own budget, presets, and the count of kept tokens. */

import { format } from "../core/format.js";
import { mark, node, write } from "./dom.js";
import { page } from "./state.js";

const PRESETS = [0.25, 0.1, 0.05];
const LABELED = [0.01, 0.05, 0.1, 0.25, 0.5, 1];
const SETTLE_MS = 900;

export function keep(element, trigger) {
  let timer = 0;
  const slider = node("input", {
    type: "range",
    min: 0,
    max: 1,
    step: 1,
    value: 0,
    id: "keep-slider",
    "aria-label": "Keep ratio: share of visual tokens the model is given",
  });
  const count = node("output", { class: "keep-count", for: "keep-slider" });
  const cut = node("span", { class: "keep-cut" });
  const ticks = node("div", { class: "keep-ticks", "aria-hidden": "true" });
  const chips = PRESETS.map((ratio) =>
    node("button", {
      type: "button",
      class: "chip",
      text: "Keep " + format.percent(ratio),
      title: `−${format.percent(1 - ratio)} in the paper's words`,
      "aria-pressed": "false",
      on: { click: () => move(page.nearest(page.scores.steps, ratio)) },
    }),
  );
  const live = node("input", {
    type: "checkbox",
    id: "answer-while-sliding",
    checked: true,
  });
  const label = node("label", {
    for: "keep-slider",
    class: "field-name",
    text: "Keep ratio",
  });
  const liveLabel = node("label", { class: "tick-box" }, [live, " answer while sliding"]);
  element.replaceChildren(
    node("div", { class: "keep" }, [
      node("div", { class: "keep-head" }, [label, count, cut]),
      slider,
      ticks,
      node("div", { class: "keep-foot" }, [...chips, liveLabel]),
    ]),
  );

  function move(step) {
    page.moveTo(step);
    settle();
  }

  /* Once the slider rests, the question is asked again. */
  function settle() {
    clearTimeout(timer);
    if (!live.checked || page.scores.from_file) return;
    timer = setTimeout(() => {
      if (!page.result.problem) trigger("settle");
    }, SETTLE_MS);
  }
  slider.addEventListener("input", () => move(Number(slider.value)));

  function fill() {
    const steps = page.scores.steps;
    const tick = (ratio) => {
      const at = page.nearest(steps, ratio) / (steps.length - 1);
      return node("span", {
        text: String(Math.round(100 * ratio)),
        style: `left:calc(9px + ${at} * (100% - 18px))`,
      });
    };
    slider.max = steps.length - 1;
    ticks.replaceChildren(...LABELED.map(tick));
  }

  function show() {
    const { scores, result, images } = page;
    const { n, budget, ...all } = page.totals();
    const step = scores.steps[page.step];
    const kept = result.problem ? budget : all.kept;
    const of = ` of ${n} visual tokens` + (images.length > 1 ? ` in ${images.length} pictures` : "");
    slider.value = page.step;
    slider.style.setProperty("--at", page.step / (scores.steps.length - 1));
    write(count, (result.problem ? "budget " : "") + kept + of);
    write(cut, kept === n ? "all kept" : "−" + format.percent(1 - kept / n));
    const spoken = result.problem ? ": " + result.problem : " kept, " + kept + of;
    slider.setAttribute("aria-valuetext", format.exact(step.ratio) + spoken);
    chips.forEach((chip, i) => mark(chip, "aria-pressed", String(Math.abs(step.ratio - PRESETS[i]) < 1e-9)));
  }

  page.on((what) => {
    if (what === "scores") fill();
    if (["scores", "budget", "forced"].includes(what)) show();
    if (what === "forced") settle();
    if (["asked", "halted"].includes(what) || (what === "scores" && page.scores.from_file)) clearTimeout(timer);
  });
  if (page.scores) {
    fill();
    show();
  }
  return () => {};
}
