/* The values of the pointed patch: a card beside it, inside the window, and a sentence for screen readers. */

import { format } from "../core/format.js";
import { WHY, firstKept } from "../core/select.js";
import { withoutToken } from "./causal-map.js";
import { hide, node } from "./dom.js";
import { page } from "./state.js";
import { WHY_NAMES, alone, mixedTitle, whyMark } from "./why.js";

const GAP_PX = 14;
const shownWord = () => page.scores.words[page.word];
const within = (least, most, at) => Math.max(least, Math.min(most, at));

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

function cropOf(token) {
  return page.scores.crops.find((one) => token >= one.offset && token < one.offset + one.rows * one.cols);
}

function placeOf(token) {
  const crop = cropOf(token);
  const at = token - crop.offset;
  const place = `row ${Math.floor(at / crop.cols) + 1}, column ${(at % crop.cols) + 1}`;
  return page.scores.crops.length > 1 ? `${crop.name}, ${place}` : place;
}

/* The least budget of the slider at which the method keeps the token by itself. */
function keptFrom(token) {
  const step = firstKept(page.scores, token);
  if (step < 0) return "no budget shown";
  const { budget, ratio } = page.scores.steps[step];
  return `${budget} tokens (${format.percent(ratio)})`;
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
  const without = withoutToken(token);
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
      node("dt", { text: "Kept from" }),
      node("dd", { class: "wide", text: keptFrom(token) }),
      node("dt", { text: "Nearest word" }),
      node("dd", { class: "wide", text: nearestWord(token) || "none" }),
      ...(without ? [node("dt", { text: "Without it" }), node("dd", { class: "wide", text: without })] : []),
    ]),
  ]);
}

/* The pointed patch in one sentence. */
export function pointedSentence() {
  if (!page.pointed.length) return "";
  const token = page.pointed[0];
  const { t2i, saliency, rankText, rankVision } = page.scores;
  const word = shownWord();
  const ofWord = word ? `, ${alone(word)} ${format.value(word.map[token])}` : "";
  const without = withoutToken(token);
  return (
    `${placeOf(token)}: ${whyText(token)}, T2I ${format.value(t2i[token])} rank ${rankText[token] + 1}${ofWord}` +
    `, saliency ${format.value(saliency[token])} rank ${rankVision[token] + 1}.` +
    (without ? ` Without it ${without}.` : "")
  );
}

/* Gives the card, and functions that show the pointed patches beside a box of the window and place it anew. */
export function makeCard() {
  const hint = node("p", { class: "card-hint" });
  const root = node("div", { class: "values", hidden: true });

  function place(box) {
    const { width, height } = root.getBoundingClientRect();
    const right = box.right + GAP_PX;
    let left = right + width <= innerWidth - 4 ? right : box.left - GAP_PX - width;
    let top = box.top + box.height / 2 - height / 2;
    if (left < 4) {
      // No room on either side: below the patch, or above it.
      left = box.left + box.width / 2 - width / 2;
      top = box.bottom + GAP_PX + height <= innerHeight - 4 ? box.bottom + GAP_PX : box.top - GAP_PX - height;
    }
    root.style.left = within(4, Math.max(4, innerWidth - width - 4), left) + "px";
    root.style.top = within(4, Math.max(4, innerHeight - height - 4), top) + "px";
  }

  /* box: the patch in the window; null where it is out of sight. */
  function show(box) {
    hide(root, !page.pointed.length || !box);
    root.classList.toggle("pinned", page.pinned);
    if (root.hidden) return;
    hint.textContent = page.pinned ? "Pinned. Click it again, or press Escape, to let go." : "Click to pin.";
    root.replaceChildren(...page.pointed.map(valueCard), hint);
    place(box);
  }
  return { root, show };
}
