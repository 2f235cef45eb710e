/* The right side of Explore: toolbar, the four panels and what links them. */
(function () {
  "use strict";
  const adafv = window.adafv, page = adafv.page, node = adafv.node, format = adafv.format, draw = adafv.draw, write = adafv.write;
  const PANELS = [["t2i", "T2I similarity"], ["saliency", "Visual saliency"], ["mixed", "Mixed score"], ["kept", "Kept tokens"]];
  const ALL = PANELS.map((panel) => panel[0]), OF_BUDGET = ["mixed", "kept"];

  adafv.part("stage", function (element, trigger) {
    const painters = {}, canvases = {}, notes = {}, legends = {};
    const picture = new Image();
    const panels = node("div", { class: "panels", tabindex: 0, role: "group",
      "aria-label": "Four maps of the image. Arrow keys move the pointer, Space forces a patch with the chosen brush, Escape lets go." });
    for (const [name, title] of PANELS) {
      const canvas = (canvases[name] = node("canvas", { role: "img", "data-panel": name, "aria-label": title }));
      notes[name] = node("span", { class: "panel-note" });
      if (name !== "kept") legends[name] = adafv.legend(name === "mixed");
      const foot = name === "kept" ? node("div", { class: "panel-foot kept-note", text: "dimmed: dropped · outlined: kept" }) : legends[name].root;
      panels.append(node("figure", { class: "panel panel-" + name }, [
        node("figcaption", {}, [node("b", { text: title }), notes[name]]), canvas, foot]));
      painters[name] = new draw.Painter(canvas);
    }
    const problem = node("p", { class: "panel-problem", hidden: true });
    canvases.kept.after(problem);
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
      const take = (name) => {
        page.brush = name;
        brushes.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.brush === name)));
        panels.classList.toggle("brushing", name !== "point");
        offerReset();
      };
      const brushes = [["point", "Inspect"], ["keep", "Force keep"], ["drop", "Force drop"], ["clear", "Unmark"]].map(([name, text]) =>
        node("button", { type: "button", text: text, "data-brush": name, "aria-pressed": String(name === page.brush), on: { click: () => take(name) } }));
      const reset = node("button", { type: "button", class: "quiet", text: "Clear marks", on: { click: () => {
        page.forced = null; page.choose(); page.tell("forced"); } } });
      /* It comes with a brush, not with the first mark: the maps must not move under a stroke. */
      const offerReset = () => { reset.hidden = !page.forced && page.brush === "point"; reset.disabled = !page.forced; };
      offerReset();
      const opacity = node("input", { type: "range", min: 0, max: 100, value: 100 * page.opacity, "aria-label": "Opacity of the maps",
        on: { input: () => { page.opacity = opacity.value / 100; page.tell("look"); } } });
      const shown = node("input", { type: "checkbox", checked: true, on: { change: () => { page.showPicture = shown.checked; page.tell("look"); } } });
      const crops = node("span", { class: "crops" });
      const able = (can) => {
        brushes.slice(1).forEach((button) => { button.disabled = !can; button.title = can ? "" : "Marks belong to the method adafv"; });
        if (!can) take("point");
      };
      return { offerReset: offerReset, crops: crops, brushes: able, root: node("div", { class: "toolbar", role: "toolbar", "aria-label": "How the maps are shown" }, [
        node("span", { class: "segments", role: "group", "aria-label": "What clicking a patch does" }, brushes), reset, crops,
        node("span", { class: "spring" }),
        node("label", { class: "tool" }, [shown, node("span", { text: "Image" })]),
        node("label", { class: "tool" }, [node("span", { text: "Opacity" }), opacity]),
        choose("Colors", [["cividis", "cividis"], ["viridis", "viridis"]], page.colorMap, (v) => { page.colorMap = v; page.tell("look"); }),
        choose("Scale", [["root", "square root"], ["linear", "linear"], ["rank", "rank"]], page.scale, (v) => { page.scale = v; page.tell("look"); }),
      ]) };
    }

    if (adafv.answersRoot) element.querySelector("#answer-slot").append(adafv.answersRoot);

    let scene = null, visible = false;
    function makeScene() {
      const view = draw.viewOf(page.scores, page.crop);
      const style = getComputedStyle(element), color = (name) => style.getPropertyValue(name).trim();
      scene = { scores: page.scores, view: view, layers: draw.layersOf(view), picture: picture.complete && picture.naturalWidth ? picture : null,
        table: page.tables[page.colorMap], opacity: page.opacity, showPicture: page.showPicture, forced: page.forced,
        colors: { ground: color("--stage-ground"), dim: color("--stage-dim"), halo: color("--stage-halo"), line: color("--stage-line"),
          keptFill: color("--stage-kept"), hatch: color("--stage-hatch"), pointer: color("--stage-pointer"), text: color("--why-text"),
          vision: color("--why-vision"), floor: color("--why-floor"), forced: color("--why-forced"), method: color("--why-method"),
          refused: color("--why-refused") } };
      for (const name of ALL) { painters[name].resize(view); painters[name].prepare(scene); }
      for (const legend of Object.values(legends)) legend.paint(scene.table);
      inspector.look();
    }

    function drawStill() {
      const scores = page.scores, word = page.word >= 0 ? scores.words[page.word] : null;
      const text = adafv.scale.plain(word ? word.map : scores.t2i, page.scale);
      painters.t2i.heat(scene, text.places);
      legends.t2i.show(text);
      notes.t2i.textContent = word ? adafv.alone(word) : "largest over the counted words";
      notes.t2i.classList.toggle("of-word", Boolean(word));
      canvases.t2i.setAttribute("aria-label", "T2I similarity of " + scores.n + " visual tokens to " + (word ? adafv.alone(word) : "the prompt"));
      const vision = adafv.scale.plain(scores.saliency, page.scale);
      painters.saliency.heat(scene, vision.places);
      legends.saliency.show(vision);
      notes.saliency.textContent = scores.saliency_source || "[CLS] attention";
      canvases.saliency.setAttribute("aria-label", "Visual saliency of " + scores.n + " visual tokens");
    }
    /* A budget that cannot be filled keeps nothing, and the mixed score has no values then. */
    function drawLive() {
      scene.forced = page.forced;
      const result = page.result, mixed = result.problem ? null : adafv.scale.mixed(result.mixed, page.scale);
      if (mixed) painters.mixed.heat(scene, mixed.places);
      else painters.mixed.blank();
      legends.mixed.show(mixed);
      painters.kept.mask(scene, result);
      write(problem, result.problem);
      problem.hidden = !result.problem;
      write(notes.mixed, mixed ? "at least 1 where kept" : "");
      write(notes.kept, mixed ? result.size + " of " + page.scores.n : "nothing kept");
      const counts = adafv.core.tally(result), said = summary(result, counts);
      canvases.kept.setAttribute("aria-label", said);
      canvases.mixed.setAttribute("aria-label", mixed ? "Mixed score: highest " + format.value(mixed.high) + "; " + result.size + " tokens reach 1" : "Mixed score: none");
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
      if (what === "scores" || what === "forced") bar.offerReset();
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
    function tokensAt(x, y) {
      const order = scene.view.crops.slice().sort((a, b) => b.rows * b.cols - a.rows * a.cols);
      return order.map((crop) => draw.tokenAt(crop, x, y)).filter((token) => token >= 0);
    }
    /* Where a pointer is: its canvas, the point of the image, and the tokens there. */
    function spotUnder(event) {
      const canvas = event.target.closest("canvas");
      if (!canvas || !scene) return null;
      const at = painters[canvas.dataset.panel].pointAt(event.clientX, event.clientY);
      return at && { canvas: canvas, at: at, tokens: tokensAt(...at) };
    }
    /* The tokens a stroke passes on its way between two of the pointer's places. */
    function tokensBetween(from, to) {
      const crop = scene.view.finest, cell = draw.cellBox(crop, 0, 0);
      const steps = Math.max(1, Math.ceil(2 * Math.max(Math.abs(to[0] - from[0]) / cell[2], Math.abs(to[1] - from[1]) / cell[3])));
      const passed = new Set();
      for (let i = 0; i <= steps; i++) {
        const found = tokensAt(...[0, 1].map((axis) => from[axis] + (i / steps) * (to[axis] - from[axis])));
        if (found.length) passed.add(found[0]);
      }
      return Array.from(passed);
    }
    let stroke = null;
    panels.addEventListener("pointermove", function (event) {
      const spot = spotUnder(event);
      if (!spot) { stroke = null; return; }
      pointAt(spot.tokens);
      if (!(event.buttons & 1) || page.brush === "point") return;
      page.brushOn(tokensBetween(stroke && stroke.canvas === spot.canvas ? stroke.at : spot.at, spot.at));
      stroke = spot;
    });
    panels.addEventListener("pointerdown", function (event) {
      const spot = spotUnder(event);
      if (!spot) return;
      pointAt(spot.tokens);
      if (page.brush === "point") return;
      event.preventDefault();
      page.brushOn(spot.tokens.slice(0, 1));
      stroke = spot;
    });
    addEventListener("pointerup", () => { stroke = null; });
    panels.addEventListener("pointerleave", () => { stroke = null; if (scene) pointAt([]); });
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
      } else if (event.key === " " && page.pointed.length) page.brushOn(page.pointed.slice(0, 1));
      else if (event.key === "Escape") pointAt([]);
      else return;
      event.preventDefault();
    });

    new ResizeObserver(() => redraw()).observe(panels);
    picture.addEventListener("load", () => redraw());
    adafv.themeChanged = redraw;
    return function (raw) {
      page.tables = { cividis: adafv.core.bytes(raw.color_maps.cividis), viridis: adafv.core.bytes(raw.color_maps.viridis) };
      if (!page.load(raw)) return;
      page.tell("scores");
      if (picture.src !== raw.picture) picture.src = raw.picture;
    };
  });
})();
