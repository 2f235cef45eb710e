/* The right side of Explore: toolbar, the four panels and what links them. */
(function () {
  "use strict";
  const adafv = window.adafv, page = adafv.page, node = adafv.node, format = adafv.format, draw = adafv.draw, write = adafv.write;
  const PANELS = [["t2i", "T2I similarity"], ["saliency", "Visual saliency"], ["mixed", "Mixed score"], ["kept", "Kept tokens"]];
  const ALL = PANELS.map((panel) => panel[0]), OF_BUDGET = ["mixed", "kept"];

  adafv.part("stage", function (element, trigger) {
    const painters = {}, canvases = {}, notes = {}, highs = {}, bars = {};
    const picture = new Image();
    const panels = node("div", { class: "panels", tabindex: 0, role: "group",
      "aria-label": "Four maps of the image. Arrow keys move the pointer, Space forces a patch with the chosen brush, Escape lets go." });
    for (const [name, title] of PANELS) {
      const canvas = (canvases[name] = node("canvas", { role: "img", "data-panel": name, "aria-label": title }));
      notes[name] = node("span", { class: "panel-note" });
      highs[name] = node("span");
      bars[name] = node("i", { class: "ramp" });
      const foot = name === "kept" ? [node("span", { class: "kept-note", text: "dimmed: dropped · outlined: kept" })]
        : [node("span", { text: "0" }), bars[name], highs[name]];
      panels.append(node("figure", { class: "panel panel-" + name }, [
        node("figcaption", {}, [node("b", { text: title }), notes[name]]), canvas, node("div", { class: "panel-foot" }, foot)]));
      painters[name] = new draw.Painter(canvas);
    }
    const live = node("p", { class: "sr-only", role: "status", "aria-live": "polite", id: "live-summary" });
    const inspector = adafv.inspector();
    const bar = toolbar();
    element.replaceChildren(node("div", { class: "stage" }, [bar.root, node("div", { class: "stage-body" }, [
      node("div", { class: "maps" }, [panels, inspector.wordRow, saveTools()]),
      node("div", { class: "side" }, [node("div", { id: "answer-slot" }), inspector.root])]), live]));

    /* The files themselves come from the server; these buttons stand in for Gradio's own, out of sight. */
    function saveTools() {
      const stand = (text, target) => node("button", { type: "button", text: text, on: { click: () => {
        const stands = document.querySelector(target);
        if (stands.type === "file") stands.value = "";  // so that the same file may be opened again
        stands.click();
      } } });
      return node("div", { class: "save-tools", role: "group", "aria-label": "Save and open" }, [
        stand("Save PNG", "#save-png"), stand("Save run", "#save-json"), stand("Open run", "#save-row input[type=file]")]);
    }

    function toolbar() {
      const choose = (label, entries, chosen, run) => {
        const select = node("select", { "aria-label": label, on: { change: () => run(select.value) } },
          entries.map(([value, text]) => node("option", { value: value, text: text, selected: value === chosen })));
        return node("label", { class: "tool tool-" + label.toLowerCase() }, [node("span", { text: label }), select]);
      };
      const brushes = [["point", "Inspect"], ["keep", "Force keep"], ["drop", "Force drop"], ["clear", "Unmark"]].map(([name, text]) =>
        node("button", { type: "button", text: text, "data-brush": name, "aria-pressed": String(name === page.brush), on: { click: () => {
          page.brush = name;
          brushes.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.brush === name)));
          panels.classList.toggle("brushing", name !== "point");
        } } }));
      const reset = node("button", { type: "button", class: "quiet", text: "Clear marks", hidden: true, on: { click: () => {
        page.forced = null; page.choose(); page.tell("forced"); } } });
      const opacity = node("input", { type: "range", min: 0, max: 100, value: 100 * page.opacity, "aria-label": "Opacity of the maps",
        on: { input: () => { page.opacity = opacity.value / 100; page.tell("look"); } } });
      const shown = node("input", { type: "checkbox", checked: true, on: { change: () => { page.showPicture = shown.checked; page.tell("look"); } } });
      const crops = node("span", { class: "crops" });
      const able = (can) => brushes.slice(1).forEach((button) => { button.disabled = !can; button.title = can ? "" : "Marks belong to the method adafv"; });
      return { reset: reset, crops: crops, brushes: able, root: node("div", { class: "toolbar", role: "toolbar", "aria-label": "How the maps are shown" }, [
        node("span", { class: "segments", role: "group", "aria-label": "What clicking a patch does" }, brushes), reset, crops,
        node("span", { class: "spring" }),
        node("label", { class: "tool" }, [shown, node("span", { text: "Image" })]),
        node("label", { class: "tool" }, [node("span", { text: "Opacity" }), opacity]),
        choose("Colours", [["cividis", "cividis"], ["viridis", "viridis"]], page.colourMap, (v) => { page.colourMap = v; page.tell("look"); }),
        choose("Scale", [["root", "square root"], ["linear", "linear"], ["rank", "rank"]], page.scale, (v) => { page.scale = v; page.tell("look"); }),
      ]) };
    }

    if (adafv.answersRoot) element.querySelector("#answer-slot").append(adafv.answersRoot);

    let scene = null, visible = false;
    function makeScene() {
      const view = draw.viewOf(page.scores, page.crop);
      const style = getComputedStyle(element), colour = (name) => style.getPropertyValue(name).trim();
      scene = { scores: page.scores, view: view, layers: draw.layersOf(view), picture: picture.complete && picture.naturalWidth ? picture : null,
        table: page.tables[page.colourMap], opacity: page.opacity, showPicture: page.showPicture, forced: page.forced,
        colours: { ground: colour("--stage-ground"), dim: colour("--stage-dim"), halo: colour("--stage-halo"), line: colour("--stage-line"),
          keptFill: colour("--stage-kept"), hatch: colour("--stage-hatch"), pointer: colour("--stage-pointer"), text: colour("--why-text"),
          vision: colour("--why-vision"), floor: colour("--why-floor"), forced: colour("--why-forced"), method: colour("--why-method"),
          refused: colour("--why-refused") } };
      for (const name of ALL) { painters[name].resize(view); painters[name].prepare(scene); }
      inspector.look();
    }

    /* Values of one map in 0..1 by token, and its highest value. */
    function ramp(values, rank) {
      let high = 0;
      for (const value of values) if (value > high) high = value;
      const out = new Float32Array(values.length);
      const n = values.length;
      for (let i = 0; i < n; i++) {
        const share = high > 0 ? values[i] / high : 0;
        out[i] = page.scale === "rank" && rank ? 1 - rank[i] / Math.max(1, n - 1) : page.scale === "linear" ? share : Math.sqrt(share);
      }
      return { values: out, high: high };
    }
    /* The mixed score passes 1 in the middle of the colours, so that kept tokens have the upper half. */
    function mixedRamp(values) {
      let high = 1;
      for (const value of values) if (value > high) high = value;
      const out = new Float32Array(values.length), span = Math.log(high) || 1;
      for (let i = 0; i < out.length; i++) {
        out[i] = values[i] >= 1 ? 0.55 + 0.45 * Math.min(1, Math.log(values[i]) / span) : 0.5 * (page.scale === "linear" ? values[i] : Math.sqrt(values[i]));
      }
      return { values: out, high: high };
    }
    function rankOf(map) {
      const order = Uint32Array.from(map.keys()).sort((a, b) => map[b] - map[a] || a - b);
      const rank = new Uint32Array(order.length);
      order.forEach((token, at) => { rank[token] = at; });
      return rank;
    }

    function drawStill() {
      const scores = page.scores, word = page.word >= 0 ? scores.words[page.word] : null;
      const text = ramp(word ? word.map : scores.t2i, page.scale === "rank" ? (word ? rankOf(word.map) : scores.rankText) : null);
      painters.t2i.heat(scene, text.values);
      highs.t2i.textContent = format.value(text.high);
      notes.t2i.textContent = word ? "“" + word.text.trim() + "” alone" : "largest over the counted words";
      const vision = ramp(scores.saliency, scores.rankVision);
      painters.saliency.heat(scene, vision.values);
      highs.saliency.textContent = format.value(vision.high);
      notes.saliency.textContent = scores.saliency_source || "[CLS] attention";
    }
    function drawLive() {
      scene.forced = page.forced;
      const result = page.result, core = adafv.core, scores = page.scores;
      if (!result.problem) {
        const mixed = mixedRamp(result.mixed);
        painters.mixed.heat(scene, mixed.values);
        write(highs.mixed, format.value(mixed.high));
        painters.kept.mask(scene, result);
      }
      write(notes.mixed, result.problem || "at least 1 where kept");
      write(notes.kept, result.size + " of " + scores.n);
      const counts = core.tally(result), said = summary(result, counts);
      canvases.kept.setAttribute("aria-label", said);
      canvases.mixed.setAttribute("aria-label", "Mixed score: highest " + highs.mixed.textContent + "; " + result.size + " tokens reach 1");
      inspector.budget(result, counts);
      announce(said);
    }
    function summary(result, counts) {
      if (result.problem) return result.problem;
      const parts = adafv.core.WHY.slice(1).filter((why) => counts[why]).map((why) => counts[why] + " " + adafv.whyNames[why]);
      return "Kept tokens: " + result.size + " of " + page.scores.n + " visual tokens. " + parts.join(", ") + ".";
    }
    let announcing = 0;
    function announce(text) {
      clearTimeout(announcing);
      announcing = setTimeout(() => { live.textContent = text; }, 350);
    }
    function present(names) {
      for (const name of names) painters[name].show(scene, page.pointed);
    }
    function redraw() {
      visible = canvases.t2i.clientWidth > 0;
      if (!page.scores || !visible) return;
      makeScene();
      drawStill();
      drawLive();
      present(ALL);
    }

    page.on(function (what) {
      if (what === "scores" || what === "look" || what === "crop") redraw();
      else if (what === "budget" || what === "forced") { if (scene && visible) { drawLive(); present(what === "budget" ? OF_BUDGET : ALL); } }
      else if (what === "word") { drawStill(); present(ALL); }
      if (what === "scores") { inspector.words(); inspector.point(); cropMenu(); bar.brushes(page.scores.rule === "split"); }
      if (what === "scores" || what === "forced") bar.reset.hidden = !page.forced;
    });
    function cropMenu() {
      const crops = page.scores.crops;
      bar.crops.replaceChildren();
      if (crops.length < 2) return;
      const select = node("select", { "aria-label": "Crop", on: { change: () => { page.crop = select.value; page.pointed = []; page.tell("crop"); } } },
        [node("option", { value: "all", text: "stitched" }), ...crops.map((crop) => node("option", { value: crop.name, text: crop.name + " alone" }))]);
      bar.crops.append(node("label", { class: "tool" }, [node("span", { text: "Crops" }), select]));
    }

    function pointAt(tokens) {
      if (tokens.join() === page.pointed.join()) return;
      page.pointed = tokens;
      present(ALL);
      inspector.point();
    }
    function tokensUnder(event) {
      const canvas = event.target.closest("canvas");
      if (!canvas || !scene) return null;
      const rect = canvas.getBoundingClientRect(), view = scene.view;
      const x = view.box[0] + ((event.clientX - rect.left) / rect.width) * view.width;
      const y = view.box[1] + ((event.clientY - rect.top) / rect.height) * view.height;
      const order = view.crops.slice().sort((a, b) => b.rows * b.cols - a.rows * a.cols);
      return order.map((crop) => draw.tokenAt(crop, x, y)).filter((token) => token >= 0);
    }
    panels.addEventListener("pointermove", function (event) {
      const tokens = tokensUnder(event);
      if (!tokens) return;
      pointAt(tokens);
      if (event.buttons & 1 && page.brush !== "point" && tokens.length) page.brushOn(tokens[0]);
    });
    panels.addEventListener("pointerdown", function (event) {
      const tokens = tokensUnder(event);
      if (!tokens || !tokens.length) return;
      pointAt(tokens);
      if (page.brush !== "point") { event.preventDefault(); page.brushOn(tokens[0]); }
    });
    panels.addEventListener("pointerleave", () => { if (scene) pointAt([]); });
    panels.addEventListener("keydown", function (event) {
      if (!scene) return;
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      const crop = scene.view.finest;
      if (step) {
        const at = page.pointed.length ? page.pointed[0] - crop.offset : -1;
        const row = at < 0 ? crop.rows >> 1 : Math.max(0, Math.min(crop.rows - 1, Math.floor(at / crop.cols) + step[0]));
        const col = at < 0 ? crop.cols >> 1 : Math.max(0, Math.min(crop.cols - 1, (at % crop.cols) + step[1]));
        pointAt(scene.layers.map((layer) => layer[row * crop.cols + col]).filter((token) => token >= 0));
        announce(inspector.sentence());
      } else if (event.key === " " && page.pointed.length) page.brushOn(page.pointed[0]);
      else if (event.key === "Escape") pointAt([]);
      else return;
      event.preventDefault();
    });

    new ResizeObserver(() => redraw()).observe(panels);
    picture.addEventListener("load", () => redraw());
    adafv.themeChanged = redraw;
    return function (raw) {
      page.tables = { cividis: adafv.core.bytes(raw.colour_maps.cividis), viridis: adafv.core.bytes(raw.colour_maps.viridis) };
      for (const bar of Object.values(bars)) paintBar(bar);
      if (!page.load(raw)) return;
      canvases.t2i.setAttribute("aria-label", "T2I similarity of " + raw.n + " visual tokens to the prompt");
      canvases.saliency.setAttribute("aria-label", "Visual saliency of " + raw.n + " visual tokens");
      page.tell("scores");
      if (picture.src !== raw.picture) picture.src = raw.picture;
    };
    function paintBar(bar) {
      const paint = () => {
        const table = page.tables[page.colourMap], at = (i) => "rgb(" + table[3 * i] + "," + table[3 * i + 1] + "," + table[3 * i + 2] + ")";
        bar.style.background = "linear-gradient(90deg," + [0, 51, 102, 153, 204, 255].map(at).join(",") + ")";
      };
      paint();
      if (!bar.dataset.bound) { bar.dataset.bound = "1"; page.on((what) => { if (what === "look") paint(); }); }
    }
  });
})();
