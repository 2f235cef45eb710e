/* Why a token is kept, in words and as a mark, and how a single word's map is named, in words. */

import { node } from "./dom.js";

export const WHY_NAMES = {
  text: "by text",
  vision: "by vision",
  both: "by both",
  floor: "by the floor",
  forced: "forced",
  method: "by the method",
};

export const alone = (word) => `“${word.text.trim() || "␣"}” alone`;

/* Section 4 mixes two rankings; the scores of other methods are shown relative to their own threshold. */
export const mixedTitle = (scores) => (scores.rule === "split" ? "Mixed score" : "Score of the method");

export const whyMark = (why) => node("i", { class: "why why-" + why, "aria-hidden": "true" });
