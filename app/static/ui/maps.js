/* The four maps: T2I similarity, visual saliency, mixed score, kept tokens. */

import { format } from "../core/format.js";
import { mixed as mixedScale, plain } from "../core/scale.js";
import { WHY, tally } from "../core/select.js";
import { Painter } from "../draw/painter.js";
import { hide, node, write } from "./dom.js";
import { makeLegend } from "./legend.js";
import { makeScene } from "./scene.js";
import { page } from "./state.js";
import { WHY_NAMES, alone, mixedTitle } from "./why.js";

const TITLES = {
  t2i: "T2I similarity",
  saliency: "Visual saliency",
  mixed: "Mixed score",
  kept: "Kept tokens",
};
const NAMES = Object.keys(TITLES);
const OF_BUDGET = ["mixed", "kept"];
const LABEL =
  "Four maps of the image. Arrow keys move the pointer, Enter pins it, Space forces a patch with the chosen brush, " +
  "Escape lets go; 1 to 4 choose the large map; A pins this view to compare it with the next.";

function makePanel(name, number) {
  const title = node("b", { text: TITLES[name] });
  const enlarge = node("button", { type: "button", class: "panel-title", title: `Show large (${number})` }, [title]);
  const note = node("span", { class: "panel-note" });
  const canvas = node("canvas", {
    role: "img",
    "data-panel": name,
    "aria-label": TITLES[name],
  });
  const legend = name === "kept" ? null : makeLegend(name === "mixed");
  const foot = node("div", {
    class: "panel-foot kept-note",
    text: "dimmed: dropped · outlined: kept",
  });
  const root = node("figure", { class: "panel panel-" + name }, [
    node("figcaption", {}, [enlarge, note]),
    canvas,
    legend ? legend.root : foot,
  ]);
  return {
    root,
    title,
    enlarge,
    note,
    canvas,
    legend,
    painter: new Painter(canvas),
  };
}

function summaryOf(result, counts) {
  if (result.problem) return result.problem;
  const reasons = WHY.slice(1).filter((why) => counts[why]);
  const counted = reasons.map((why) => `${counts[why]} ${WHY_NAMES[why]}`).join(", ");
  return `Kept tokens: ${result.size} of ${page.scores.n} visual tokens. ${counted}.`;
}

/* inspector: the column that follows the budget. announce: says a sentence to screen readers. */
export function makeMaps(inspector, announce) {
  const panels = Object.fromEntries(NAMES.map((name, i) => [name, makePanel(name, i + 1)]));
  const { t2i, saliency, mixed, kept } = panels;
  const all = Object.values(panels);
  const options = {
    class: "panels",
    tabindex: 0,
    role: "group",
    "aria-label": LABEL,
  };
  const root = node(
    "div",
    options,
    all.map((panel) => panel.root),
  );
  const problem = node("p", { class: "panel-problem", hidden: true });
  kept.canvas.after(problem);
  const picture = new Image();
  let scene = null;
  let visible = false;

  function enlarge(name) {
    page.large = name;
    for (const [other, panel] of Object.entries(panels)) {
      panel.root.classList.toggle("large", other === name);
      panel.enlarge.setAttribute("aria-pressed", String(other === name));
    }
    page.notify("large");
  }
  for (const [name, panel] of Object.entries(panels)) panel.enlarge.addEventListener("click", () => enlarge(name));

  function prepare() {
    scene = makeScene(root, page.scores, picture, page.crop, {
      table: page.tables[page.colorMap],
      opacity: page.opacity,
      showPicture: page.showPicture,
      forced: page.forced,
    });
    for (const { painter } of all) {
      painter.resize(scene.view);
      painter.prepare(scene);
    }
    for (const { legend } of all) if (legend) legend.paint(scene.table);
    inspector.readColors();
  }

  /* The maps that no budget changes. */
  function drawScores() {
    const { scores } = page;
    const word = scores.words[page.word];
    const text = plain(word ? word.map : scores.t2i, page.scale);
    t2i.painter.heat(scene, text.places);
    t2i.legend.show(text);
    t2i.note.textContent = word ? alone(word) : "largest over the counted words";
    t2i.note.classList.toggle("of-word", Boolean(word));
    const of = word ? alone(word) : "the prompt";
    t2i.canvas.setAttribute("aria-label", `T2I similarity of ${scores.n} visual tokens to ${of}`);
    const vision = plain(scores.saliency, page.scale);
    saliency.painter.heat(scene, vision.places);
    saliency.legend.show(vision);
    saliency.note.textContent = scores.saliency_source || "from the vision encoder";
    saliency.canvas.setAttribute("aria-label", `Visual saliency of ${scores.n} visual tokens`);
  }

  /* A budget that cannot be filled keeps nothing, and the mixed score has no values then. */
  function drawSelection() {
    scene.forced = page.forced;
    const { result, scores } = page;
    const colored = result.problem ? null : mixedScale(result.mixed, page.scale);
    const title = mixedTitle(scores);
    if (colored) mixed.painter.heat(scene, colored.places);
    else mixed.painter.blank();
    mixed.legend.show(colored);
    write(mixed.title, title);
    write(mixed.note, colored ? "at least 1 where kept" : "");
    const reached = colored ? `highest ${format.value(colored.high)}; ${result.size} tokens reach 1` : "none";
    mixed.canvas.setAttribute("aria-label", `${title}: ${reached}`);

    kept.painter.mask(scene, result);
    write(kept.note, colored ? `${result.size} of ${scores.n}` : "nothing kept");
    write(problem, result.problem);
    hide(problem, !result.problem);
    const counts = tally(result);
    const summary = summaryOf(result, counts);
    kept.canvas.setAttribute("aria-label", summary);
    inspector.showBudget(result, counts);
    announce(summary);
  }

  /* Puts what is drawn on screen, with the pointed patch and the marks on top. */
  function present(names = NAMES) {
    for (const name of names) panels[name].painter.show(scene, page.pointed);
  }

  function redraw() {
    visible = t2i.canvas.clientWidth > 0;
    if (!page.scores || !visible) return;
    prepare();
    drawScores();
    drawSelection();
    present();
  }

  page.on((what) => {
    if (what === "restored") enlarge(page.large);
    if (["scores", "image"].includes(what) && picture.src !== page.scores.picture) picture.src = page.scores.picture;
    if (["scores", "image", "look", "crop", "theme", "large"].includes(what)) redraw();
    if (!scene || !visible) return;
    if (what === "budget" || what === "forced") {
      drawSelection();
      present(what === "budget" ? OF_BUDGET : NAMES);
    } else if (what === "word") {
      drawScores();
      present();
    }
  });
  enlarge(page.large);
  new ResizeObserver(() => redraw()).observe(root);
  picture.addEventListener("load", () => redraw());

  return {
    root,
    names: NAMES,
    enlarge,
    present,
    scene: () => scene,
    painterOf: (name) => panels[name].painter,
  };
}
