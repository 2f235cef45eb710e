/* The sweep's table: methods down, keep ratios across, each cell an answer with its mark and KL. */
(function () {
  "use strict";
  const adafv = window.adafv, node = adafv.node, format = adafv.format;
  const LONG = 24;  // characters of an answer that needs a wide column

  adafv.part("sweeptable", function (element) {
    return function (value) {
      const full = value.rows.find((row) => row.method === "full");
      const rows = value.rows.filter((row) => row.method !== "full");
      const ratios = Array.from(new Set(rows.map((row) => row.keep_ratio))).sort((a, b) => b - a);
      const methods = Array.from(new Set(rows.map((row) => row.method)));
      const told = (text) => node("span", { class: "cell-answer" + (text.length > LONG ? " long" : ""), text: text });
      const cell = function (row) {
        if (!row) return node("td", { class: "pending", text: "·" });
        if (row.error) return node("td", { class: "failed" }, [told(row.error)]);
        return node("td", { "data-same": String(row.same) }, [
          told((row.same ? "= " : "≠ ") + row.answer),
          node("span", { class: "cell-cost", text: row.n_kept + " tokens · KL " + (row.kl_nats === null ? "–" : format.value(Math.max(0, row.kl_nats))) })]);
      };
      element.replaceChildren(node("div", { class: "sweep-scroll", tabindex: 0, role: "region", "aria-label": "Answers of the sweep" }, [
        node("p", { class: "sweep-asked" }, [node("b", { text: value.prompt }), node("span", { text: full ? (full.error || "all " + full.n_visual + " tokens: " + full.answer) : "" })]),
        node("table", { class: "sweep-table" }, [
          node("thead", {}, [node("tr", {}, [node("th", { scope: "col", text: "Method" }), ...ratios.map((ratio) => node("th", { scope: "col", text: "keep " + format.percent(ratio) }))])]),
          node("tbody", {}, methods.map((method) => node("tr", {}, [node("th", { scope: "row", text: method }),
            ...ratios.map((ratio) => cell(rows.find((row) => row.method === method && row.keep_ratio === ratio)))])))])]));
    };
  });
})();
