/* The column beside the maps: how the budget was split, what the pointed patch is worth, and the prompt's words. */
(function () {
  "use strict";
  const adafv = window.adafv, page = adafv.page, node = adafv.node, format = adafv.format, write = adafv.write;
  adafv.whyNames = { text: "by text", vision: "by vision", both: "by both", floor: "by the floor", forced: "forced", method: "by the method" };
  adafv.alone = (word) => "“" + (word.text.trim() || "␣") + "” alone";

  adafv.inspector = function () {
    const reasons = adafv.core.WHY.slice(1).map((why) => {
      const number = node("b");
      return { why: why, number: number, item: node("li", {}, [node("i", { class: "why why-" + why, "aria-hidden": "true" }), number, " " + adafv.whyNames[why]]) };
    });
    const tally = node("ul", { class: "tally" }, reasons.map((reason) => reason.item));
    const split = node("p", { class: "split-note" });
    const gauge = node("canvas", { class: "gauge", role: "img" });
    const values = node("div", { class: "values" });
    const words = node("div", { class: "words", role: "group", "aria-label": "Words of the prompt; choose one to see its own map" });
    const ends = node("div", { class: "gauge-ends" }, [node("span", { text: "all vision" }), node("span", { text: "all text" })]);
    const gaugeBox = node("div", {}, [gauge, ends]);
    const root = node("aside", { class: "inspector" }, [
      section("Budget split", [tally, gaugeBox, split]), section("Pointed patch", [values])]);
    const wordRow = node("section", { class: "word-row" }, [node("h3", { text: "T2I map of" }), words]);

    function section(title, children) {
      return node("section", {}, [node("h3", { text: title }), ...children]);
    }

    let colors = null, width = 260;
    new ResizeObserver(() => {
      width = gauge.clientWidth || width;
      if (page.result && !gaugeBox.hidden) drawGauge(page.result);
    }).observe(gauge);

    /* Reads the gauge's colors; to be called where light and dark may have changed. */
    function look() {
      const style = getComputedStyle(root), color = (name) => style.getPropertyValue(name);
      colors = { line: color("--line"), fill: color("--gauge-fill"), curve: color("--ink-soft"), point: color("--accent") };
    }

    function budget(result, counts) {
      const adaptive = page.scores.rule === "split" && !result.problem;
      for (const reason of reasons) {
        write(reason.number, String(counts[reason.why]));
        reason.item.hidden = !(counts[reason.why] || (page.scores.rule === "split" && ["text", "vision", "both"].includes(reason.why)));
      }
      gaugeBox.hidden = !adaptive;
      write(split, result.problem ? result.problem
        : adaptive ? "Text ranking down to " + result.kText + ", saliency down to " + result.kVisual + ": the split with the largest geometric mean."
        : page.scores.method_note || "");
      if (adaptive) drawGauge(result);
    }

    function drawGauge(result) {
      const found = page.forced ? curveWithForced(result) : adafv.core.splits(page.scores, result.budget, page.scores.orderText, page.scores.orderVision);
      const density = Math.min(window.devicePixelRatio || 1, 2), height = 84, mean = found.mean, span = Math.max(1, mean.length - 1);
      if (gauge.width !== Math.round(width * density)) { gauge.width = Math.round(width * density); gauge.height = height * density; }
      if (!colors) look();
      const context = gauge.getContext("2d");
      context.setTransform(density, 0, 0, density, 0, 0);
      context.clearRect(0, 0, width, height);
      let high = 0;
      for (const value of mean) if (value > high) high = value;
      const x = (k) => 5 + (k / span) * (width - 10), y = (value) => height - 6 - (high ? value / high : 0) * (height - 20);
      const step = Math.max(1, Math.floor(span / width));
      const trace = () => {
        context.beginPath();
        for (let k = 0; k < mean.length; k += step) context.lineTo(x(k), y(mean[k]));
        if (mean.length) context.lineTo(x(span), y(mean[mean.length - 1]));
      };
      context.strokeStyle = colors.line;
      context.lineWidth = 1;
      context.beginPath(); context.moveTo(0, height - 5.5); context.lineTo(width, height - 5.5); context.stroke();
      trace();
      context.lineTo(x(span), height - 6); context.lineTo(x(0), height - 6); context.closePath();
      context.fillStyle = colors.fill; context.fill();
      trace();
      context.strokeStyle = colors.curve; context.lineWidth = 1.5; context.stroke();
      const at = x(result.kText), top = y(high ? Math.sqrt(found.best.product) : 0);
      context.setLineDash([2, 3]); context.beginPath(); context.moveTo(at, top); context.lineTo(at, height - 6); context.stroke(); context.setLineDash([]);
      context.fillStyle = colors.point;
      context.beginPath(); context.arc(at, top, 4.5, 0, 7); context.fill();
      gauge.setAttribute("aria-label", "Geometric mean over the splits of " + result.budget + " tokens, from all vision to all text; the chosen one takes "
        + result.kText + " from the text ranking and " + result.kVisual + " from saliency");
    }

    function curveWithForced(result) {
      const free = (order) => order.filter((token) => page.forced[token] === 0);
      let kept = 0;
      for (const mark of page.forced) if (mark > 0) kept++;
      const found = adafv.core.splits(page.scores, result.budget - kept, free(page.scores.orderText), free(page.scores.orderVision));
      return found.best ? found : { mean: new Float64Array(0), best: { product: 0 } };
    }

    function whyText(token) {
      if (page.result.problem) return "nothing is chosen";
      const why = adafv.core.WHY[page.result.why[token]];
      if (why !== "dropped") return "kept " + adafv.whyNames[why];
      return page.forced && page.forced[token] < 0 ? "dropped: forced" : "dropped";
    }
    function closest(token) {
      let best = -1;
      page.scores.words.forEach((word, i) => { if (word.counted && (best < 0 || word.map[token] > page.scores.words[best].map[token])) best = i; });
      return best < 0 ? "" : page.scores.words[best].text.trim();
    }
    function placeOf(token) {
      const crop = page.scores.crops.find((c) => token >= c.offset && token < c.offset + c.rows * c.cols), at = token - crop.offset;
      return (page.scores.crops.length > 1 ? crop.name + ", " : "") + "row " + (Math.floor(at / crop.cols) + 1) + ", column " + ((at % crop.cols) + 1);
    }
    function point() {
      if (!page.pointed.length) {
        values.replaceChildren(node("p", { class: "hint", text: "Point at any map, or move there with the arrow keys." }));
        return;
      }
      const s = page.scores;
      values.replaceChildren(...page.pointed.map((token) => node("div", { class: "value-card" }, [
        node("p", { class: "value-place" }, [node("span", { text: placeOf(token) }), node("span", { text: "token " + token })]),
        node("p", { class: "value-why" }, [node("i", { class: "why why-" + adafv.core.WHY[page.result.why[token]], "aria-hidden": "true" }), whyText(token)]),
        node("dl", {}, [
          ...row("T2I similarity", s.t2i[token], "no. " + (s.rankText[token] + 1)),
          ...(shownWord() ? row(adafv.alone(shownWord()), shownWord().map[token], "") : []),
          ...row("Saliency", s.saliency[token], "no. " + (s.rankVision[token] + 1)),
          ...(page.result.problem ? [] : row("Mixed score", page.result.mixed[token], page.result.kept[token] ? "≥ 1" : "< 1")),
          node("dt", { text: "Nearest word" }), node("dd", { class: "wide", text: closest(token) || "none" })])])));
    }
    const shownWord = () => page.scores.words[page.word];
    function row(name, value, rank) {
      return [node("dt", { text: name }), node("dd", { text: format.value(value) }), node("dd", { class: "rank", text: rank })];
    }
    function sentence() {
      if (!page.pointed.length) return "";
      const token = page.pointed[0], s = page.scores;
      return placeOf(token) + ": " + whyText(token) + ", T2I " + format.value(s.t2i[token]) + " rank " + (s.rankText[token] + 1)
        + (shownWord() ? ", " + adafv.alone(shownWord()) + " " + format.value(shownWord().map[token]) : "")
        + ", saliency " + format.value(s.saliency[token]) + " rank " + (s.rankVision[token] + 1) + ".";
    }

    function showWords() {
      const press = () => Array.from(words.children).forEach((button, j) => button.setAttribute("aria-pressed", String(j - 1 === page.word)));
      const choose = (i) => { page.word = page.word === i ? -1 : i; press(); page.tell("word"); };
      words.replaceChildren(node("button", { type: "button", class: "word", text: "all counted", "aria-pressed": "true", on: { click: () => choose(-1) } }), ...page.scores.words.map(function (word, i) {
        const shown = word.text.trim() === "" ? "␣" : word.text.trim();
        return node("button", { type: "button", class: "word" + (word.counted ? "" : " uncounted"), text: shown, "aria-pressed": "false",
          title: word.counted ? "Show this word's own map" : "Not counted in the maximum; show its map",
          "aria-label": shown + (word.counted ? "" : ", not counted"),
          on: { click: () => choose(i) } });
      }));
    }
    page.on((what) => { if (page.pointed.length && ["budget", "forced", "word"].includes(what)) point(); });
    return { root: root, wordRow: wordRow, look: look, budget: budget, point: point, words: showWords, sentence: sentence };
  };
})();
