/* Compare A | B: what is shown is pinned as A; whatever is shown after that is B. Kept tokens are compared here, at
   once; answers, costs and times by the server, in the background. */

import { format } from "../core/format.js";
import { makeMasks } from "./compare-masks.js";
import { comparisonTable, differenceSentence, verdictSentence } from "./compare-numbers.js";
import { hide, node, write } from "./dom.js";
import { areKept } from "./kept.js";
import { later, whenIdle } from "./later.js";
import { viewFragment } from "./link.js";
import { page } from "./state.js";

const IDLE_MS = 700; // after the answers, so that a slider that goes on moving is not followed
const EXPLANATION =
  "Pin what is shown as A; then change the method, the budget, the question or the picture: that is B, beside it.";
const SHOWN_AGAIN = ["scores", "image", "asked", "answered", "halted", "budget", "forced", "sideA", "answers"];

const nameOf = ({ title, ratio }) => `${title}, keep ${format.percent(ratio)}`;
const sameKept = (one, other) =>
  other && one.kept.length === other.kept.length && one.kept.every((is, i) => is === other.kept[i]);

/* What is shown now, as one side of the comparison. */
function shownSide() {
  const { scores, images, results, step, answers } = page;
  const title = answers && answers.method_title ? answers.method_title : scores.method;
  const { key, view } = scores;
  return { key, prompt: view.prompt || "", title, ratio: scores.steps[step].ratio, images, results };
}

/* Whether B is still what was pinned. */
const isSame = () =>
  page.sideA.key === page.scores.key && page.sideA.results.every((one, i) => sameKept(one, page.results[i]));

const button = (text, run) => node("button", { type: "button", class: "chip", text, on: { click: run } });

const canPin = () => Boolean(page.scores && !page.scores.from_file && !page.waiting && !page.result.problem);

export function compare(element, trigger) {
  let auto = false;
  let value = null; // the newest comparison that the server sent
  let note = "";
  let running = false;
  let timer = 0;

  const masks = makeMasks();
  const pinButton = button("Pin as A", pin);
  const unpinButton = button("Let A go", unpin);
  const measureButton = button("Measure", toggle);
  const sentence = node("p", { class: "measure-sentence", role: "status" });
  const difference = node("p", { class: "measure-note" });
  const table = node("table", { class: "costs" });
  const root = node("section", { class: "measure compare", "aria-label": "Compare A and B", hidden: true }, [
    node("h2", { text: "Compare A | B" }),
    sentence,
    masks.root,
    difference,
    table,
    node("div", { class: "measure-tools" }, [pinButton, unpinButton, measureButton]),
  ]);
  element.replaceChildren(root);

  function pin() {
    if (!canPin()) return;
    page.wantsPin = false;
    page.pin({ ...shownSide(), fragment: viewFragment() });
    trigger("pin");
  }

  function unpin() {
    page.pin(null);
    trigger("unpin");
  }

  function stop() {
    clearTimeout(timer);
    timer = 0;
    if (running) trigger("halt");
    running = false;
  }

  function begin() {
    timer = 0;
    running = true;
    note = "";
    trigger("measure");
    show();
  }

  function toggle() {
    if (!running) {
      page.count([]);
      return begin();
    }
    stop();
    show();
  }

  /* Whether the newest comparison is of what is pinned and of what is shown. */
  function isOfBoth() {
    const { sideA, scores, results } = page;
    if (!value || !sideA || value.keys[0] !== sideA.key || value.keys[1] !== scores.key) return false;
    return areKept(value.a.kept, sideA.results) && areKept(value.b.kept, results);
  }
  /* B is measured once its answer is there and the slider rests. */
  function considerMeasuring() {
    clearTimeout(timer);
    timer = 0;
    const { sideA, scores, waiting, answers } = page;
    const done = Boolean(answers && answers.pruned && answers.pruned.state === "done");
    if (!auto || !sideA || !done || waiting || scores.from_file || running) return;
    if (!isOfBoth() && !isSame()) timer = setTimeout(begin, IDLE_MS);
  }

  function showPinned() {
    const { sideA } = page;
    const b = shownSide();
    const own = isOfBoth();
    masks.name(nameOf(sideA), nameOf(b));
    root.toggleAttribute("data-outdated", Boolean(value) && !own);
    const waiting = running ? "Measuring both sides…" : "Not measured for these two yet.";
    const state = isSame() ? "B is still what was pinned: change something." : waiting;
    write(sentence, note || (own ? verdictSentence(value) : state));
    const asked = sideA.prompt === b.prompt ? "" : ` · A asks “${sideA.prompt}”, B “${b.prompt}”`;
    write(difference, differenceSentence(sideA, page) + asked);
    table.replaceChildren(...(value ? comparisonTable(value) : []));
    write(measureButton, running ? "Stop" : "Measure");
    hide(measureButton, isSame() || (own && !running) || page.waiting > 0);
    masks.draw();
  }

  function show() {
    const { sideA, scores } = page;
    hide(root, !scores || (scores.from_file && !sideA));
    if (root.hidden) return;
    const pinned = Boolean(sideA);
    for (const one of [masks.root, difference, table, unpinButton, measureButton]) hide(one, !pinned);
    pinButton.disabled = !canPin();
    write(pinButton, pinned ? "Pin B as A" : "Pin as A");
    if (pinned) showPinned();
    else write(sentence, EXPLANATION);
  }

  const showSoon = later(() => page.scores && show());

  page.on((what) => {
    if (what === "pin") pin();
    if (what === "pointed" && page.sideA) whenIdle(masks.present);
    if (what === "asked" || what === "halted") {
      clearTimeout(timer);
      running = false;
    }
    if (what === "sideA") {
      stop();
      value = null;
    }
    if (["asked", "budget", "forced", "sideA"].includes(what)) note = "";
    if (["scores", "image", "look", "crop", "theme", "restored", "sideA"].includes(what)) masks.forget();
    if (["answers", "sideA"].includes(what) || (what === "budget" && timer)) considerMeasuring();
    if (SHOWN_AGAIN.includes(what) || ["look", "crop", "theme"].includes(what)) showSoon();
  });

  return (sent) => {
    if ("auto" in sent) auto = sent.auto;
    if (page.wantsPin) pin();
    note = sent.note || "";
    if (sent.keys) value = sent;
    running = running && !sent.times && !note;
    if ("pinned" in sent) page.notify("pinned");
    showSoon();
  };
}
