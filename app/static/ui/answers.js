/* The answers side by side, the notice line, the examples, and the light and dark switch. */
(function () {
  "use strict";
  const adafv = window.adafv, page = adafv.page, node = adafv.node, format = adafv.format;
  const ROWS = [
    ["Visual tokens", (a) => (a.n_newline ? a.n_kept + " + " + a.n_newline + " newline" : String(a.n_kept)), (a) => a.n_kept],
    ["Time to first token", (a) => format.seconds(a.ttft_s), (a) => a.ttft_s],
    ["Prefill", (a) => format.seconds(a.prefill_s), (a) => a.prefill_s],
    ["Tokens per second", (a) => (a.tokens_per_s > 0 ? format.value(a.tokens_per_s) : "–"), null],
    ["Prefill FLOPs", (a) => format.flops(a.prefill_flops), (a) => a.prefill_flops],
    ["KV cache", (a) => format.bytes(a.kv_cache_bytes), (a) => a.kv_cache_bytes],
  ];
  const STATES = { waiting: "waiting", running: "answering…", done: "", stopped: "stopped", error: "failed" };

  adafv.part("answers", function (element) {
    const cards = { pruned: card("Pruned"), full: card("All tokens") };
    const verdict = node("div", { class: "verdict" });
    const table = node("table", { class: "costs" });
    const note = node("p", { class: "convention" });
    const slot = document.getElementById("answer-slot");
    adafv.answersRoot = node("section", { class: "answers", "aria-label": "Answers" }, [
      node("div", { class: "answer-pair" }, [cards.pruned.root, cards.full.root]), verdict, table, note]);
    element.replaceChildren();
    if (slot) slot.append(adafv.answersRoot);

    function card(title) {
      const name = node("span", { class: "answer-name", text: title }), state = node("span", { class: "answer-state" });
      const text = node("p", { class: "answer-text", "aria-live": "polite" });
      return { root: node("article", { class: "answer" }, [node("header", {}, [name, state]), text]), name: name, state: state, text: text };
    }
    function fill(part, answer, title) {
      part.name.textContent = title + (answer && answer.n_kept ? " · " + answer.n_kept + " tokens" : "");
      part.root.dataset.state = answer ? answer.state : "none";
      part.state.textContent = answer ? STATES[answer.state] || "" : "";
      const silent = answer && ["done", "stopped"].includes(answer.state) && !(answer.error || answer.text || "").trim();
      const text = silent ? "(no text)" : answer ? (answer.error || answer.text) : "";
      part.text.classList.toggle("silent", Boolean(silent));
      if (part.text.textContent !== text) part.text.textContent = text;
    }
    /* From the click until the first word of the server: what stands here belongs to the question before. */
    let last = null;
    const states = (text) => Object.values(cards).forEach((one) => { one.state.textContent = text; });
    page.on(function (what) {
      const waited = adafv.answersRoot.hasAttribute("data-waiting");
      if (["asked", "halted", "answered"].includes(what)) adafv.answersRoot.toggleAttribute("data-waiting", page.waiting > 0);
      if (what === "asked") states(STATES.waiting);
      if (what === "halted" && waited) states(STATES.stopped);
      if (what === "answered" && last) draw(last);
    });
    return function (value) {
      if (last && value.asked < last.asked) return;
      last = value;
      page.answered(value.asked);
    };
    function draw(value) {
      fill(cards.pruned, value.pruned, value.method_title || "Pruned");
      fill(cards.full, value.full, "All tokens");
      const ready = [value.pruned, value.full].map((a) => a && a.n_kept !== undefined && a.ttft_s !== undefined);
      verdict.replaceChildren();
      verdict.dataset.same = value.same === null || value.same === undefined ? "unknown" : String(value.same);
      if (value.same === true || value.same === false) {
        verdict.append(node("b", { text: value.same ? "= Same answer" : "≠ Different answer" }));
        if (value.kl_nats !== null && value.kl_nats !== undefined) {
          verdict.append(node("span", { text: "next-token KL " + format.value(Math.max(0, value.kl_nats)) + " nats",
            title: "KL divergence of the first new token's distribution: all tokens from pruned" }));
        }
      }
      table.replaceChildren();
      if (!ready[0] && !ready[1]) return;
      table.append(node("thead", {}, [node("tr", {}, [node("td"), node("th", { scope: "col", text: "pruned" }), node("th", { scope: "col", text: "all" }), node("th", { scope: "col", text: "ratio" })])]));
      table.append(node("tbody", {}, ROWS.map(([title, show, measure]) => node("tr", {}, [
        node("th", { scope: "row", text: title }),
        node("td", { text: ready[0] ? show(value.pruned) : "–" }), node("td", { text: ready[1] ? show(value.full) : "–" }),
        node("td", { class: "ratio", text: ready[0] && ready[1] && measure && measure(value.full) > 0 ? "× " + format.value(measure(value.pruned) / measure(value.full)) : "" })]))));
      note.textContent = value.convention || "";
    }
  });

  /* A full queue: Gradio's client shows a sentence of its own for status 503; for others it shows the server's. */
  const stockFetch = window.fetch;
  window.fetch = async function (...request) {
    const answer = await stockFetch.apply(this, request);
    if (answer.status !== 503 || !answer.url.includes("/queue/join")) return answer;
    return new Response(await answer.text(), { status: 429, headers: { "Content-Type": "application/json" } });
  };

  adafv.part("notice", function (element) {
    const line = node("p", { class: "notice", role: "status", "aria-live": "polite", hidden: true });
    element.replaceChildren(line);
    page.on((what) => { if (what === "saving" && line.dataset.of === "saving") line.hidden = true; });
    return function (value) {
      line.dataset.of = value.of || "";
      line.hidden = !value.text;
      line.dataset.level = value.level || "info";
      line.setAttribute("role", value.level === "error" ? "alert" : "status");
      line.textContent = value.text || "";
      if (value.asked && value.level === "error") page.answered(value.asked);
    };
  });

  adafv.part("examples", function (element, trigger) {
    return function (value) {
      element.replaceChildren(node("div", { class: "examples", role: "group", "aria-label": "Example scenes" }, value.examples.map((example, i) =>
        node("button", { type: "button", class: "example", title: example.question, "aria-label": "Example: " + example.question,
          on: { click: () => { trigger("choose", { index: i }); } } }, [node("img", { src: example.picture, alt: "", width: 64, height: 64 })]))));
    };
  });

  adafv.part("masthead", function (element) {
    const model = node("span", { class: "model-chip" });
    const toggle = node("button", { type: "button", class: "theme-toggle", "aria-label": "Switch between light and dark",
      on: { click: () => setDark(!document.body.classList.contains("dark")) } });
    function setDark(dark) {
      document.body.classList.toggle("dark", dark);
      toggle.textContent = dark ? "Light" : "Dark";
      try { localStorage.setItem("adafv-dark", dark ? "1" : "0"); } catch (error) { /* storage may be off */ }
      requestAnimationFrame(() => adafv.themeChanged && adafv.themeChanged());
    }
    const fallback = node("p", { class: "notice", role: "status", "data-level": "warn" });
    element.replaceChildren(node("header", { class: "masthead" }, [
      node("div", {}, [node("h1", { text: "AdaFV" }), node("p", { text: "Which visual tokens does the question need?" })]),
      node("div", { class: "masthead-side" }, [model, toggle])]));
    let stored = null;
    try { stored = localStorage.getItem("adafv-dark"); } catch (error) { /* storage may be off */ }
    const asked = new URL(location.href).searchParams.get("__theme");
    const dark = asked ? asked === "dark" : stored ? stored === "1" : matchMedia("(prefers-color-scheme: dark)").matches;
    setDark(dark);
    return function (value) {
      page.model = value.name;
      model.textContent = value.model;
      model.title = value.detail || "";
      fallback.textContent = value.fallback || "";
      if (value.fallback) element.append(fallback);
      else fallback.remove();
    };
  });

  adafv.part("about", function (element) {
    const row = (cells, tag, ours) => node("tr", { class: ours ? "ours" : "" }, cells.map((text) => node(tag, { text: text })));
    return function (value) {
      element.querySelector("[data-steps]").replaceChildren(...value.steps.map((step) => node("figure", {}, [
        node("img", { src: step.picture, alt: step.title + ": " + step.text }), node("figcaption", {}, [node("b", { text: step.title }), step.text])])));
      element.querySelector("[data-published]").replaceChildren(node("thead", {}, [row(value.published.head, "th", false)]),
        node("tbody", {}, value.published.rows.map((one) => row(one.cells, "td", one.ours))));
    };
  });

  adafv.part("progress", function (element) {
    const bar = node("progress", { max: 1, value: 0, "aria-label": "Progress" }), text = node("span");
    const root = node("div", { class: "progress", hidden: true }, [bar, text]);
    element.replaceChildren(root);
    return function (value) {
      root.hidden = !value.text;
      bar.hidden = value.share === null;
      bar.value = value.share || 0;
      text.textContent = value.text || "";
    };
  });
})();
