/* About: the method in six pictures, drawn from the worked example, and the published figures. */

import { mixed, plain } from "../core/scale.js";
import { bytes, select, unpack } from "../core/select.js";
import { Painter } from "../draw/painter.js";
import { copyText, node } from "./dom.js";
import { makeScene } from "./scene.js";
import { page } from "./state.js";

const LOOK = { opacity: 0.85, showPicture: true, forced: null };
const COPIED_MS = 2000;
const UNSEEN = "rgb(120, 124, 130)";

/* What each picture shows, in the order of the steps. Kept patches without a reason are outlined, without glyphs. */
function drawingsOf(scores) {
  const ratio = scores.keep_ratio;
  const result = select(scores, page.nearest(scores.steps, ratio), null);
  const everything = {
    kept: new Uint8Array(scores.n).fill(1),
    why: new Uint8Array(scores.n),
  };
  const answered = { kept: result.kept, why: new Uint8Array(scores.n) };
  const unseen = (scene) => ({
    ...scene,
    colors: { ...scene.colors, dim: UNSEEN },
  });
  return [
    (painter, scene) => painter.mask(scene, everything),
    (painter, scene) => painter.heat(scene, plain(scores.t2i, "root").places),
    (painter, scene) => painter.heat(scene, plain(scores.saliency, "root").places),
    (painter, scene) => painter.heat(scene, mixed(result.mixed, "root").places),
    (painter, scene) => painter.mask(scene, result),
    (painter, scene) => painter.mask(unseen(scene), answered),
  ];
}

function stepFigure(step) {
  const canvas = node("canvas", {
    role: "img",
    "aria-label": `${step.title}: ${step.text}`,
  });
  const caption = node("figcaption", {}, [node("b", { text: step.title }), step.text]);
  return {
    root: node("figure", {}, [canvas, caption]),
    painter: new Painter(canvas),
  };
}

/* raw: the payload of the worked example. */
function drawSteps(container, steps, raw) {
  const scores = unpack(raw);
  const table = bytes(raw.color_maps.cividis);
  const drawings = drawingsOf(scores);
  const figures = steps.map(stepFigure);
  const picture = new Image();
  container.replaceChildren(...figures.map((figure) => figure.root));

  function draw() {
    if (!container.clientWidth) return;
    const scene = makeScene(container, scores, picture, "all", {
      ...LOOK,
      table,
    });
    figures.forEach(({ painter }, i) => {
      painter.resize(scene.view);
      painter.prepare(scene);
      drawings[i](painter, scene);
      painter.show(scene, []);
    });
  }
  picture.addEventListener("load", draw);
  new ResizeObserver(draw).observe(container);
  page.on((what) => {
    if (what === "theme") draw();
  });
  picture.src = raw.picture;
}

function fillTable(table, published) {
  const row = (cells, tag, ours) =>
    node(
      "tr",
      { class: ours ? "ours" : "" },
      cells.map((text) => node(tag, { text })),
    );
  table.replaceChildren(
    node("thead", {}, [row(published.head, "th", false)]),
    node(
      "tbody",
      {},
      published.rows.map((line) => row(line.cells, "td", line.ours)),
    ),
  );
}

function offerBibtex(button) {
  button.addEventListener("click", async () => {
    await copyText(button.parentElement.querySelector("pre").textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy BibTeX"), COPIED_MS);
  });
}

export function about(element) {
  offerBibtex(element.querySelector(".bibtex button"));
  return (value) => {
    const container = element.querySelector("[data-steps]");
    let waiting = value.steps.length > 0;
    const start = () => {
      if (!waiting || !page.example) return;
      waiting = false;
      drawSteps(container, value.steps, page.example);
    };
    page.on((what) => {
      if (what === "scores") start();
    });
    start();
    fillTable(element.querySelector("[data-published]"), value.published);
    const code = element.querySelector("[data-code]");
    code.hidden = !value.code;
    code.querySelector("a").href = value.code;
  };
}
