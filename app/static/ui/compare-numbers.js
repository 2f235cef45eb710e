/* What a comparison says in words and numbers. */

import { format } from "../core/format.js";
import { isComparable } from "./compare-masks.js";
import { node } from "./dom.js";

const nats = (value) => (value === null ? "–" : `${format.value(Math.max(0, value))} nats`);
const timed = (name) => (side, times) => format.seconds(times ? times[name].median_s : side[`${name}_s`]);

/* Title, text of one side, the number that is compared, and the name of a time: times are compared only once they were
   measured in turns. */
const ROWS = [
  ["Answer", (side) => `“${side.answer}”`],
  ["With all tokens", (side) => `“${side.full_answer}”`],
  ["KL from all tokens", (side) => nats(side.kl_from_full_nats)],
  ["Visual tokens", (side) => `${side.n_kept} of ${side.n_visual}`, (side) => side.n_kept],
  ["Time to first token", timed("ttft"), null, "ttft"],
  ["Prefill", timed("prefill"), null, "prefill"],
  ["Prefill FLOPs", (side) => format.flops(side.prefill_flops), (side) => side.prefill_flops],
  ["KV cache", (side) => format.bytes(side.kv_cache_bytes), (side) => side.kv_cache_bytes],
];

function ratioOf({ a, b, times }, measure, name) {
  if (name && times) return `≈ ${Number((times.b[name].median_s / times.a[name].median_s).toPrecision(2))}×`;
  return measure && measure(a) > 0 ? `× ${format.value(measure(b) / measure(a))}` : "";
}

function cell(side, times, show, name) {
  const spread = name && times ? [times[name].low_s, times[name].high_s].map(format.seconds).join(" to ") : "";
  return node("td", { text: show(side, times), title: spread ? `median of 5 runs in turns, ${spread}` : null });
}

/* value: what the server sent. Gives the head and the body of a table. */
export function comparisonTable(value) {
  const head = ["A", "B", "B / A"].map((text) => node("th", { scope: "col", text }));
  const rows = ROWS.map(([title, show, measure, name]) =>
    node("tr", {}, [
      node("th", { scope: "row", text: title }),
      ...["a", "b"].map((side) => cell(value[side], value.times && value.times[side], show, name)),
      node("td", { class: "ratio", text: ratioOf(value, measure, name) }),
    ]),
  );
  return [node("thead", {}, [node("tr", {}, [node("td"), ...head])]), node("tbody", {}, rows)];
}

export function verdictSentence({ same, kl_nats: kl }) {
  const verdict = same ? "= A and B give the same answer" : "≠ A and B answer differently";
  return kl === null ? `${verdict}.` : `${verdict}; next-token KL of B from A ${nats(kl)}.`;
}

/* Which kept tokens both sides have, and which one of them alone. */
export function differenceSentence(sideA, { images, results }) {
  const same = sideA.images.length === images.length && sideA.images.every((one, i) => isComparable(one, images[i]));
  if (!same) return "Not the same picture in the same grid: the kept tokens cannot be compared";
  const counts = { both: 0, a: 0, b: 0 };
  sideA.results.forEach(({ kept }, image) => {
    kept.forEach((isInA, token) => {
      const isInB = results[image].kept[token];
      if (isInA || isInB) counts[isInA && isInB ? "both" : isInA ? "a" : "b"] += 1;
    });
  });
  return `Kept by both: ${counts.both} · only by A: ${counts.a} · only by B: ${counts.b}`;
}
