/* The column beside the maps: how the budget was split, the scores of the pointed patch, and the prompt's words. */

import { format } from "../core/format.js";
import { WHY } from "../core/select.js";
import { node, write } from "./dom.js";
import { makeGauge } from "./gauge.js";
import { page } from "./state.js";
import { WHY_NAMES, alone, mixedTitle } from "./why.js";

const SPLIT_REASONS = ["text", "vision", "both"];
const WORDS_LABEL = "Words of the prompt; choose one to see its own map";
const EMPTY_HINT = "Point at any map, or move there with the arrow keys.";

const section = (title, children) => node("section", {}, [node("h3", { text: title }), ...children]);
const whyMark = (why) => node("i", { class: "why why-" + why, "aria-hidden": "true" });
const shownWord = () => page.scores.words[page.word];

function whyText(token) {
  if (page.result.problem) return "nothing is chosen";
  const why = WHY[page.result.why[token]];
  if (why !== "dropped") return "kept " + WHY_NAMES[why];
  return page.forced && page.forced[token] < 0 ? "dropped: forced" : "dropped";
}

function nearestWord(token) {
  let best = null;
  for (const word of page.scores.words) {
    if (word.counted && (!best || word.map[token] > best.map[token])) best = word;
  }
  return best ? best.text.trim() : "";
}

function placeOf(token) {
  const { crops } = page.scores;
  const crop = crops.find((one) => token >= one.offset && token < one.offset + one.rows * one.cols);
  const at = token - crop.offset;
  const place = `row ${Math.floor(at / crop.cols) + 1}, column ${(at % crop.cols) + 1}`;
  return crops.length > 1 ? `${crop.name}, ${place}` : place;
}

function valueRow(name, value, rank) {
  return [
    node("dt", { text: name }),
    node("dd", { text: format.value(value) }),
    node("dd", { class: "rank", text: rank }),
  ];
}

function valueCard(token) {
  const { scores, result } = page;
  const word = shownWord();
  const mixed = () => valueRow(mixedTitle(scores), result.mixed[token], result.kept[token] ? "≥ 1" : "< 1");
  return node("div", { class: "value-card" }, [
    node("p", { class: "value-place" }, [
      node("span", { text: placeOf(token) }),
      node("span", { text: "token " + token }),
    ]),
    node("p", { class: "value-why" }, [whyMark(WHY[result.why[token]]), whyText(token)]),
    node("dl", {}, [
      ...valueRow("T2I similarity", scores.t2i[token], "no. " + (scores.rankText[token] + 1)),
      ...(word ? valueRow(alone(word), word.map[token], "") : []),
      ...valueRow("Saliency", scores.saliency[token], "no. " + (scores.rankVision[token] + 1)),
      ...(result.problem ? [] : mixed()),
      node("dt", { text: "Nearest word" }),
      node("dd", { class: "wide", text: nearestWord(token) || "none" }),
    ]),
  ]);
}

export function makeInspector() {
  const reasons = WHY.slice(1).map((why) => {
    const number = node("b");
    return { why, number, item: node("li", {}, [whyMark(why), number, " " + WHY_NAMES[why]]) };
  });
  const tally = node(
    "ul",
    { class: "tally" },
    reasons.map((reason) => reason.item),
  );
  const split = node("p", { class: "split-note" });
  const gauge = makeGauge();
  const values = node("div", { class: "values" });
  const words = node("div", { class: "words", role: "group", "aria-label": WORDS_LABEL });
  const root = node("aside", { class: "inspector" }, [
    section("Budget split", [tally, gauge.root, split]),
    section("Pointed patch", [values]),
  ]);
  const wordRow = node("section", { class: "word-row" }, [node("h3", { text: "T2I map of" }), words]);

  /* counts: tokens by reason. */
  function showBudget(result, counts) {
    const splitting = page.scores.rule === "split";
    const adaptive = splitting && !result.problem;
    for (const reason of reasons) {
      write(reason.number, String(counts[reason.why]));
      reason.item.hidden = !(counts[reason.why] || (splitting && SPLIT_REASONS.includes(reason.why)));
    }
    gauge.root.hidden = !adaptive;
    const chosen =
      `Text ranking down to ${result.kText}, saliency down to ${result.kVisual}: ` +
      "the split with the largest geometric mean.";
    write(split, result.problem || (adaptive ? chosen : page.scores.method_note || ""));
    if (adaptive) gauge.draw(result);
  }

  function showPointed() {
    if (page.pointed.length) values.replaceChildren(...page.pointed.map(valueCard));
    else values.replaceChildren(node("p", { class: "hint", text: EMPTY_HINT }));
  }

  /* The pointed patch in one sentence, for screen readers. */
  function sentence() {
    if (!page.pointed.length) return "";
    const token = page.pointed[0];
    const { t2i, saliency, rankText, rankVision } = page.scores;
    const word = shownWord();
    const ofWord = word ? `, ${alone(word)} ${format.value(word.map[token])}` : "";
    return (
      `${placeOf(token)}: ${whyText(token)}, T2I ${format.value(t2i[token])} rank ${rankText[token] + 1}${ofWord}` +
      `, saliency ${format.value(saliency[token])} rank ${rankVision[token] + 1}.`
    );
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
    const all = { type: "button", class: "word", text: "all counted", "aria-pressed": "true" };
    const first = node("button", { ...all, on: { click: () => choose(-1) } });
    words.replaceChildren(first, ...page.scores.words.map(wordButton));
  }

  page.on((what) => {
    if (page.pointed.length && ["budget", "forced", "word"].includes(what)) showPointed();
  });
  return { root, wordRow, readColors: gauge.readColors, showBudget, showPointed, showWords, sentence };
}
