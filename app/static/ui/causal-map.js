/* The causal map: what leaving each kept patch out does to the answer. The server measures it on a click; it is drawn
   under the other maps; the pointed patch is that of all. */

import { format } from "../core/format.js";
import { plain } from "../core/scale.js";
import { tokenAt } from "../draw/geometry.js";
import { Painter } from "../draw/painter.js";
import { hide, node, write } from "./dom.js";
import { areKept } from "./kept.js";
import { later } from "./later.js";
import { makeLegend } from "./legend.js";
import { menu } from "./menu.js";
import { makeScene } from "./scene.js";
import { page } from "./state.js";

const BLOCKS = [
  [1, "each patch"],
  [2, "blocks of 2 × 2"],
  [3, "blocks of 3 × 3"],
];
const EFFECTS = [
  ["kl_nats", "KL divergence"],
  ["drop_nats", "support of the answer"],
];
const LEAST_TOP = 0.1; // nats at the bright end, at least: less than that would look like much
const EXPLANATION =
  "Selection is not an explanation: leave each kept patch out, ask again, and see which ones the answer hangs on.";

const nats = (value) => `${value < 0 ? "−" : ""}${format.value(Math.abs(value))} nats`;
const removalOf = (value, token) =>
  value.removals.find((one) => one.image === page.shown && one.tokens.includes(token));

const isOfKept = (value) => Boolean(page.scores && value.key === page.scores.key && areKept(value.kept, page.results));

/* What the answer does without a token, in words. */
export function withoutToken(token) {
  const { causal } = page;
  const removal = causal && isOfKept(causal) && removalOf(causal, token);
  if (!removal) return "";
  return `${removal.same ? "same answer" : `“${removal.answer}”`}, KL ${nats(removal.kl_nats)}`;
}

export function causalMap(element, trigger) {
  let running = false;
  let effect = EFFECTS[0][0];
  let scene = null;

  const canvas = node("canvas", { role: "img", "data-map": "causal", "aria-label": "Causal map" });
  const painter = new Painter(canvas);
  const legend = makeLegend(false);
  const picture = new Image();
  const sentence = node("p", { class: "measure-sentence", role: "status" });
  const here = node("p", { class: "measure-here" });
  const cross = node("p", { class: "measure-note", text: "✕: without it the answer is another one · clear: not kept" });
  const count = node("span", { class: "measure-note" });
  const button = node("button", { type: "button", class: "chip", on: { click: toggle } });
  const blocks = menu("Leave out", BLOCKS, 1, (side) => (page.block = Number(side)));
  const effects = menu("Show", EFFECTS, effect, (name) => {
    effect = name;
    draw();
  });
  const drawing = node("div", { class: "causal-drawing" }, [canvas, legend.root]);
  const words = node("div", { class: "measure-words" }, [
    sentence,
    here,
    cross,
    node("div", { class: "measure-tools" }, [blocks, effects]),
    node("div", { class: "measure-tools" }, [button, count]),
  ]);
  const body = node("div", { class: "causal-body" }, [drawing, words]);
  const root = node("section", { class: "measure causal", "aria-label": "Did it matter?", hidden: true }, [
    node("h2", { text: "Did it matter? Causal map" }),
    body,
  ]);
  element.replaceChildren(root);

  function toggle() {
    if (running) {
      running = false;
      trigger("halt");
    } else {
      running = true;
      page.count([]);
      trigger("measure");
    }
    show();
  }

  /* The value of each token of the picture that is shown; -1 where nothing was left out. */
  function valuesOf(value) {
    const values = new Float32Array(page.scores.n).fill(-1);
    for (const { image, tokens, [effect]: size } of value.removals) {
      if (image === page.shown) for (const token of tokens) values[token] = Math.max(0, size);
    }
    return values;
  }

  /* Which tokens change the answer, as marks of a scene. */
  function changing(value) {
    const marks = new Int8Array(page.scores.n);
    for (const { image, tokens, same } of value.removals) {
      if (image === page.shown && !same) for (const token of tokens) marks[token] = -1;
    }
    return marks;
  }

  function draw() {
    const value = page.causal;
    hide(drawing, !(value && value.removals && page.scores && value.key === page.scores.key));
    scene = null;
    if (drawing.hidden || !root.clientWidth) return;
    if (picture.src !== page.scores.picture) picture.src = page.scores.picture;
    const { opacity, showPicture, colorMap } = page;
    const look = { table: page.tables[colorMap], opacity, showPicture, forced: changing(value) };
    scene = makeScene(root, page.scores, picture, page.crop, look);
    painter.resize(scene.view);
    painter.prepare(scene);
    const values = valuesOf(value);
    const scale = plain(values, page.scale, LEAST_TOP);
    painter.heat(
      scene,
      scale.places.map((place, token) => (values[token] < 0 ? -1 : place)),
    );
    legend.paint(scene.table);
    legend.show(scale);
    canvas.setAttribute("aria-label", `Causal map of ${value.kept[page.shown].length} kept tokens. ${value.sentence}`);
    present();
  }
  const present = () => scene && painter.show(scene, page.pointed);

  function showHere() {
    const token = page.pointed.find((one) => withoutToken(one));
    const removal = token !== undefined && removalOf(page.causal, token);
    const many = removal && removal.tokens.length > 1 ? `tokens ${removal.tokens.join(", ")}` : `token ${token}`;
    const likelihood = () => `log p of the answer ${nats(-removal.drop_nats)}`;
    write(here, removal ? `Without ${many}: ${withoutToken(token)}, ${likelihood()}` : "");
  }

  function show() {
    const value = page.causal;
    hide(root, !page.scores || page.scores.from_file);
    if (root.hidden) return;
    const own = value && page.scores && value.key === page.scores.key ? value : null;
    const outdated = Boolean(own && own.removals && !isOfKept(own));
    root.toggleAttribute("data-outdated", outdated);
    const known = own ? own.note || own.sentence : "";
    const again = `Measured for ${own && own.kept ? own.kept[page.shown].length : 0} other kept tokens: measure again.`;
    write(sentence, outdated ? again : known || (running ? "Leaving patches out…" : EXPLANATION));
    hide(cross, drawing.hidden);
    write(count, own && own.removals ? `${own.removals.length} of ${own.n_removals} left out` : "");
    write(button, running ? "Stop" : "Measure");
    button.disabled = page.waiting > 0; // until the question that it would be about is scored
    showHere();
  }

  const showSoon = later(show);
  canvas.addEventListener("pointermove", (event) => {
    const at = scene && painter.pointAt(event.clientX, event.clientY);
    const tokens = at ? scene.view.crops.map((crop) => tokenAt(crop, ...at)).filter((token) => token >= 0) : [];
    if (!page.pinned) page.pointAt(tokens, painter);
  });
  canvas.addEventListener("pointerleave", () => page.pinned || page.pointAt([]));
  picture.addEventListener("load", draw);
  new ResizeObserver(draw).observe(root);

  page.on((what) => {
    if (what === "asked" || what === "halted") running = false;
    if (["scores", "image", "look", "crop", "theme", "restored"].includes(what)) draw();
    if (what === "pointed") {
      present();
      showHere();
    } else if (["scores", "image", "asked", "answered", "halted", "budget", "forced"].includes(what)) showSoon();
  });

  return (value) => {
    page.causal = value;
    running = running && !value.complete && !value.stopped && !value.note;
    draw();
    show();
  };
}
