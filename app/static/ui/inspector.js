/* Beside and below the maps: how the budget was split, and the prompt's words. */

import { WHY } from "../core/select.js";
import { hide, node, write } from "./dom.js";
import { makeGauge } from "./gauge.js";
import { whenResting } from "./later.js";
import { page } from "./state.js";
import { WHY_NAMES, whyMark } from "./why.js";

const SPLIT_REASONS = ["text", "vision", "both"];
const WORDS_LABEL = "Words of the prompt; choose one to see its own map";

const section = (title, children) => node("section", {}, [node("h2", { text: title }), ...children]);
export function makeInspector() {
  const reasons = WHY.slice(1).map((why) => {
    const number = node("b");
    return {
      why,
      number,
      item: node("li", {}, [whyMark(why), number, " " + WHY_NAMES[why]]),
    };
  });
  const tally = node(
    "ul",
    { class: "tally" },
    reasons.map((reason) => reason.item),
  );
  const split = node("p", { class: "split-note" });
  const gauge = makeGauge();
  const words = node("div", {
    class: "words",
    role: "group",
    "aria-label": WORDS_LABEL,
  });
  const root = node("aside", { class: "inspector", "aria-label": "Budget split" }, [
    section("Budget split", [tally, gauge.root, split]),
  ]);
  const wordRow = node("section", { class: "word-row" }, [node("h2", { text: "T2I map of" }), words]);

  function showSplit() {
    const { result } = page;
    const over = page.scores.together ? "Over all pictures: text" : "Text";
    const chosen =
      `${over} ranking down to ${result.kText}, saliency down to ${result.kVisual}: ` +
      "the split with the largest geometric mean.";
    write(split, result.problem || (page.scores.rule === "split" ? chosen : page.scores.method_note || ""));
  }

  const showSplitSoon = whenResting(showSplit);

  /* counts: tokens by reason. */
  function showBudget(result, counts) {
    const splitting = page.scores.rule === "split";
    const adaptive = splitting && !result.problem;
    for (const reason of reasons) {
      write(reason.number, String(counts[reason.why]));
      hide(reason.item, !(counts[reason.why] || (splitting && SPLIT_REASONS.includes(reason.why))));
    }
    hide(gauge.root, !adaptive);
    if (split.textContent) showSplitSoon();
    else showSplit();
    if (adaptive) gauge.draw(result);
  }

  function choose(index) {
    page.word = page.word === index ? -1 : index;
    Array.from(words.children).forEach((button, j) => button.setAttribute("aria-pressed", String(j - 1 === page.word)));
    page.notify("word");
  }

  function wordButton(word, index) {
    const shown = word.text.trim() || "␣";
    return node("button", {
      type: "button",
      class: "word" + (word.counted ? "" : " uncounted"),
      text: shown,
      "aria-pressed": "false",
      title: word.counted ? "Show this word's own map" : "Not counted in the maximum; show its map",
      "aria-label": shown + (word.counted ? "" : ", not counted"),
      on: { click: () => choose(index) },
    });
  }

  function showWords() {
    const all = {
      type: "button",
      class: "word",
      text: "all counted",
      "aria-pressed": "true",
    };
    const first = node("button", { ...all, on: { click: () => choose(-1) } });
    words.replaceChildren(first, ...page.scores.words.map(wordButton));
  }

  return { root, wordRow, readColors: gauge.readColors, showBudget, showWords };
}
