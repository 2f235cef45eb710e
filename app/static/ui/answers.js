/* The two answers side by side, whether they agree, and what each of them cost. */

import { format } from "../core/format.js";
import { node } from "./dom.js";
import { page } from "./state.js";

const tokens = (a) => (a.n_newline ? `${a.n_kept} + ${a.n_newline} newline` : String(a.n_kept));
const speed = (a) => (a.tokens_per_s > 0 ? format.value(a.tokens_per_s) : "–");

/* Title, text of one answer, the number that is compared (none where a ratio says nothing), and the name of a time: two
   single runs say little about each other, so times are compared once they were measured in turns. */
const COSTS = [
  ["Visual tokens", tokens, (a) => a.n_kept],
  ["Time to first token", (a) => format.seconds(a.ttft_s), null, "ttft"],
  ["Prefill", (a) => format.seconds(a.prefill_s), null, "prefill"],
  ["Tokens per second", speed, null],
  ["Prefill FLOPs", (a) => format.flops(a.prefill_flops), (a) => a.prefill_flops],
  ["KV cache", (a) => format.bytes(a.kv_cache_bytes), (a) => a.kv_cache_bytes],
];
const STATES = {
  waiting: "waiting",
  running: "answering…",
  done: "",
  stopped: "stopped",
  error: "failed",
};
const KL_TITLE = "KL divergence of the first new token's distribution: all tokens from pruned";

/* Shown by the stage; filled by the component `answers`, whichever of the two is mounted first. */
export const answersSection = node("section", {
  class: "answers",
  "aria-label": "Answers",
});

function makeCard(title) {
  const name = node("span", { class: "answer-name", text: title });
  const state = node("span", { class: "answer-state" });
  const text = node("p", { class: "answer-text", "aria-live": "polite" });
  const root = node("article", { class: "answer" }, [node("header", {}, [name, state]), text]);

  function fill(answer, heading) {
    name.textContent = heading + (answer && answer.n_kept ? ` · ${answer.n_kept} tokens` : "");
    root.dataset.state = answer ? answer.state : "none";
    state.textContent = answer ? STATES[answer.state] || "" : "";
    const content = answer ? answer.error || answer.text : "";
    const silent = Boolean(answer) && ["done", "stopped"].includes(answer.state) && !(content || "").trim();
    const shown = silent ? "(no text)" : content;
    text.classList.toggle("silent", silent);
    if (text.textContent !== shown) text.textContent = shown;
  }
  return { root, state, fill };
}

/* The times that were measured for these two answers; null where there are none yet. */
function timesOf(pruned, full) {
  const { times } = page;
  const own = times && pruned && full && times.pruned.n_kept === pruned.n_kept && times.full.n_kept === full.n_kept;
  return own ? times : null;
}

function costTable(value) {
  if (value.withheld) return [];
  const [pruned, full] = [value.pruned, value.full].map((a) =>
    a && a.n_kept !== undefined && a.ttft_s !== undefined ? a : null,
  );
  if (!pruned && !full) return [];
  const ratio = (measure) => {
    if (!pruned || !full || !measure || !(measure(full) > 0)) return "";
    return "× " + format.value(measure(pruned) / measure(full));
  };
  const heads = ["pruned", "all", "ratio"].map((text) => node("th", { scope: "col", text }));
  const times = timesOf(pruned, full);
  const cell = (answer, show, time) => {
    if (!answer) return node("td", { text: "–" });
    if (!time) return node("td", { text: show(answer) });
    const [low, high] = [time.low_s, time.high_s].map(format.seconds);
    return node("td", { text: format.seconds(time.median_s), title: `median of 5 runs in turns, ${low} to ${high}` });
  };
  const row = ([title, show, measure, name]) => {
    const [own, other] = name && times ? [times.pruned[name], times.full[name]] : [null, null];
    const compared = own ? `≈ ${Number((own.median_s / other.median_s).toPrecision(2))}×` : ratio(measure);
    return node("tr", {}, [
      node("th", { scope: "row", text: title }),
      cell(pruned, show, own),
      cell(full, show, other),
      node("td", { class: "ratio", text: compared }),
    ]);
  };
  return [node("thead", {}, [node("tr", {}, [node("td"), ...heads])]), node("tbody", {}, COSTS.map(row))];
}

function verdictOf(value) {
  if (value.withheld) return [node("span", { class: "withheld", text: value.withheld })];
  if (value.same !== true && value.same !== false) return [];
  const verdict = [node("b", { text: value.same ? "= Same answer" : "≠ Different answer" })];
  if (value.kl_nats !== null && value.kl_nats !== undefined) {
    const text = `next-token KL ${format.value(Math.max(0, value.kl_nats))} nats`;
    verdict.push(node("span", { text, title: KL_TITLE }));
  }
  return verdict;
}

export function answers(element) {
  const cards = { pruned: makeCard("Pruned"), full: makeCard("All tokens") };
  const verdict = node("div", { class: "verdict" });
  const table = node("table", { class: "costs" });
  const note = node("p", { class: "convention" });
  const pair = node("div", { class: "answer-pair" }, [cards.pruned.root, cards.full.root]);
  answersSection.replaceChildren(pair, verdict, table, note);
  element.replaceChildren();

  function draw(value) {
    cards.pruned.fill(value.pruned, value.method_title || "Pruned");
    cards.full.fill(value.full, "All tokens");
    verdict.dataset.same = value.same === null || value.same === undefined ? "unknown" : String(value.same);
    verdict.replaceChildren(...verdictOf(value));
    table.replaceChildren(...costTable(value));
    if (value.withheld) note.textContent = "";
    else if (table.childElementCount) note.textContent = value.convention || "";
  }

  /* From the click until the server's first reply, what is shown belongs to the previous question. */
  let last = null;
  let marked = false; // whether patches were forced or released since the question
  function dimOutdated() {
    const kept = last && last.pruned && last.pruned.n_kept;
    const moved = Boolean(kept && page.result && kept !== page.totals().kept);
    answersSection.toggleAttribute("data-outdated", moved || marked);
  }
  const setStates = (text) => Object.values(cards).forEach((card) => (card.state.textContent = text));
  page.on((what) => {
    const waited = answersSection.hasAttribute("data-waiting");
    if (["asked", "halted", "answered"].includes(what)) {
      answersSection.toggleAttribute("data-waiting", page.waiting > 0);
    }
    if (what === "asked" || what === "forced") marked = what === "forced";
    if (["budget", "forced", "scores", "asked", "answered"].includes(what)) dimOutdated();
    if (what === "asked") setStates(STATES.waiting);
    if (what === "halted" && waited) setStates(STATES.stopped);
    if (what === "asked") page.times = null;
    if (["answered", "times"].includes(what) && last) draw(last);
  });
  return (value) => {
    if (last && value.asked < last.asked) return;
    last = value;
    page.answers = value;
    page.answered(value.asked);
    page.notify("answers");
  };
}
