/* The answer along the whole slider, under it: at which budgets it is that of all tokens, whether it is right, and how
   far the first token's distribution moved. Filled in the background, once the answers are there. */

import { format } from "../core/format.js";
import { hide, node, write } from "./dom.js";
import { whenResting } from "./later.js";
import { page } from "./state.js";
import { makeLanes } from "./answer-strip-lanes.js";

const IDLE_MS = 700; // after the answers, so that a slider that goes on moving is not followed
const SLOW_S = 1; // where the first token takes longer, a question would wait noticeably for a batch: a click fills it
const LONG = 40; // characters of an answer that are shown

const words = (point) => {
  if (point.error) return point.error;
  const { answer } = point;
  const quoted = answer.length > LONG ? `${answer.slice(0, LONG - 1)}…` : answer;
  const parts = [`“${quoted}”`, point.same ? "same answer" : "another answer"];
  if (point.correct !== null) parts.push(point.correct ? "right" : "wrong");
  if (point.kl_nats !== null) parts.push(`KL ${format.value(Math.max(0, point.kl_nats))} nats`);
  return parts.join(" · ");
};

/* The measured point of each slider step; null where there is none. Steps of one budget share a point. */
function pointsBySteps(value) {
  const { steps } = page.scores;
  const budgets = steps.map((_, at) => page.images.map((one) => one.steps[at].budget).join());
  const byRatio = new Map((value.points || []).map((point) => [point.keep_ratio, point]));
  const byBudget = new Map();
  steps.forEach((step, at) => {
    if (byRatio.has(step.ratio)) byBudget.set(budgets[at], byRatio.get(step.ratio));
  });
  return budgets.map((budget) => byBudget.get(budget) || null);
}

export function answerStrip(element, trigger) {
  let auto = false;
  let value = null; // the newest strip that the server sent
  let running = false;
  let points = [];
  let timer = 0;

  const lanes = makeLanes(choose);
  const sentence = node("p", { class: "answer-strip-sentence" });
  const here = node("p", { class: "answer-strip-here" });
  const count = node("span", { class: "answer-strip-count" });
  const button = node("button", { type: "button", class: "chip answer-strip-button", on: { click: toggle } });
  const root = node(
    "section",
    { class: "answer-strip", "aria-label": "The answer along the whole slider", hidden: true },
    [lanes.root, sentence, here, lanes.legend, node("div", { class: "answer-strip-foot" }, [count, button])],
  );
  element.replaceChildren(root);

  const fits = () => Boolean(value && value.key && page.scores && value.key === page.scores.key);

  /* A click on the strip moves the slider, as a drag would. */
  function choose(step) {
    const slider = document.getElementById("keep-slider");
    slider.value = step;
    slider.dispatchEvent(new Event("input"));
  }

  function begin() {
    timer = 0;
    running = true;
    show();
    trigger("fill");
  }

  function toggle() {
    if (running) {
      trigger("halt");
      running = false;
      show();
    } else {
      page.count([]);
      begin();
    }
  }

  const ended = (answer) => !answer || ["done", "error", "stopped"].includes(answer.state);
  const asked = () => Boolean(page.scores && !page.scores.from_file && !page.waiting && page.answers);

  function considerFilling() {
    clearTimeout(timer);
    timer = 0;
    if (!asked()) return;
    const { pruned, full } = page.answers;
    if (!ended(pruned) || !ended(full) || pruned.state !== "done") return;
    if (!auto || pruned.ttft_s > SLOW_S) show();
    else timer = setTimeout(begin, IDLE_MS);
  }

  function showHere() {
    const point = points[page.step];
    const { budget } = page.totals();
    const text = point ? words(point) : "not measured; what its neighbors share is shown paler";
    write(here, value && value.points && value.points.length ? `At ${budget} tokens: ${text}` : "");
  }

  function show() {
    const shown = fits() ? value : null;
    hide(root, !asked() && !shown);
    if (root.hidden) return;
    points = pointsBySteps(shown || {});
    const measured = shown && shown.points ? shown.points : [];
    const note = shown ? shown.note || "" : "";
    lanes.draw(points, shown);
    hide(lanes.root, Boolean(note));
    hide(lanes.legend, Boolean(note) || !measured.length);
    const waiting = running ? "Measuring the answer along the slider…" : "How far down does the answer hold?";
    write(sentence, note || (shown && shown.sentence) || waiting);
    const many = shown && shown.n_budgets ? `${measured.length} of ${shown.n_budgets} budgets measured` : "";
    write(count, measured.length ? many : "");
    count.title = "Evenly over the slider first, then between neighbors whose answers differ.";
    write(button, running ? "Stop" : measured.length ? "Continue" : "Measure");
    hide(button, Boolean(note) || Boolean(shown && shown.complete));
    lanes.mark(page.step, points.length);
    showHere();
  }

  const showHereSoon = whenResting(showHere);

  function follow() {
    lanes.mark(page.step, points.length);
    showHereSoon();
  }

  const dim = (outdated) => root.toggleAttribute("data-outdated", outdated);

  page.on((what) => {
    if (what === "asked") {
      clearTimeout(timer);
      running = false;
    }
    if (what === "answers") considerFilling();
    if (what === "forced") dim(true);
    if (what === "budget" && timer) considerFilling(); // waits until the slider rests
    if (["scores", "asked", "halted", "answers"].includes(what) && page.scores) show();
    else if (what === "budget" && !root.hidden) follow();
  });
  const arrive = (sent) => {
    if ("auto" in sent) {
      auto = sent.auto;
      considerFilling();
      return;
    }
    value = sent;
    running = Boolean(sent.key) && running && !sent.complete && !sent.stopped && !sent.note;
    dim(false);
    if (sent.times && fits()) {
      page.times = sent.times;
      page.notify("times");
    }
    if (page.scores) show();
  };
  return arrive;
}
