/* The sweep's table: methods down, keep ratios across, each cell an answer with its mark and KL divergence. */

import { format } from "../core/format.js";
import { node } from "./dom.js";

const LONG = 24; // characters of an answer that needs a wide column

const answerText = (text) =>
  node("span", {
    class: "cell-answer" + (text.length > LONG ? " long" : ""),
    text,
  });

function cell(row) {
  if (!row) return node("td", { class: "pending", text: "·" });
  if (row.error) return node("td", { class: "failed" }, [answerText(row.error)]);
  const kl = row.kl_nats === null ? "–" : format.value(Math.max(0, row.kl_nats));
  return node("td", { "data-same": String(row.same) }, [
    answerText((row.same ? "= " : "≠ ") + row.answer),
    node("span", {
      class: "cell-cost",
      text: `${row.n_kept} tokens · KL ${kl}`,
    }),
  ]);
}

export function sweepTable(element) {
  return (value) => {
    const full = value.rows.find((row) => row.method === "full");
    const rows = value.rows.filter((row) => row.method !== "full");
    const ratios = Array.from(new Set(rows.map((row) => row.keep_ratio))).sort((a, b) => b - a);
    const methods = Array.from(new Set(rows.map((row) => row.method)));
    const answer = full ? full.error || `all ${full.n_visual} tokens: ${full.answer}` : "";
    const heads = ["Method", ...ratios.map((ratio) => "keep " + format.percent(ratio))];
    const line = (method) => {
      const at = (ratio) => rows.find((row) => row.method === method && row.keep_ratio === ratio);
      return node("tr", {}, [
        node("th", { scope: "row", text: value.titles[method] }),
        ...ratios.map((ratio) => cell(at(ratio))),
      ]);
    };
    const region = {
      class: "sweep-scroll",
      tabindex: 0,
      role: "region",
      "aria-label": "Answers of the sweep",
    };
    element.replaceChildren(
      node("div", region, [
        node("p", { class: "sweep-question" }, [node("b", { text: value.prompt }), node("span", { text: answer })]),
        node("table", { class: "sweep-table" }, [
          node("thead", {}, [
            node(
              "tr",
              {},
              heads.map((text) => node("th", { scope: "col", text })),
            ),
          ]),
          node("tbody", {}, methods.map(line)),
        ]),
      ]),
    );
  };
}
