/* The kept tokens of both sides of a comparison, and their difference: small maps of the picture that is shown. */

import { tokenAt } from "../draw/geometry.js";
import { Painter } from "../draw/painter.js";
import { hide, node, write } from "./dom.js";
import { makeScene } from "./scene.js";
import { page } from "./state.js";

const ONLY_A = 1; // drawn in the corner of what text chose
const ONLY_B = 2; // drawn in the corner of what vision chose

/* Whether two images have the same picture in the same grid, so that their tokens are the same ones. */
export const isComparable = (one, other) =>
  Boolean(one && other) &&
  one.picture === other.picture &&
  one.n === other.n &&
  one.crops.length === other.crops.length;

/* What either side keeps, as a selection to draw: tokens of one side alone have a corner. */
function differenceOf(one, other) {
  const kept = one.kept.map((is, i) => (is || other.kept[i] ? 1 : 0));
  const why = kept.map((is, i) => (!is || one.kept[i] === other.kept[i] ? 0 : one.kept[i] ? ONLY_A : ONLY_B));
  return { kept, why };
}

function makeMap(name) {
  const canvas = node("canvas", { role: "img", "data-map": `compare-${name}`, "aria-label": name });
  const caption = node("figcaption");
  const root = node("figure", {}, [caption, canvas]);
  return { root, canvas, caption, painter: new Painter(canvas), picture: new Image(), scene: null };
}

export function makeMasks() {
  const [a, b, difference] = ["a", "b", "difference"].map(makeMap);
  const maps = [a, b, difference];
  const swatch = (side, text) =>
    node("span", { class: "compare-key" }, [node("i", { class: `why side-${side}` }), text]);
  const legend = node("p", { class: "measure-note compare-legend" }, [
    swatch("a", "only A"),
    swatch("b", "only B"),
    swatch("both", "both"),
  ]);
  const root = node("div", { class: "compare-masks" }, [...maps.map((map) => map.root), legend]);

  const imageOfA = () => Math.min(page.shown, page.sideA.images.length - 1);
  const isLinked = () => isComparable(page.sideA.images[imageOfA()], page.scores);

  function prepareMap(map, scores, crop) {
    const { opacity, showPicture, colorMap } = page;
    if (map.picture.src !== scores.picture) map.picture.src = scores.picture;
    map.scene = makeScene(root, scores, map.picture, crop, {
      table: page.tables[colorMap],
      opacity,
      showPicture,
      forced: null,
    });
    if (map === difference) {
      const { floor, forced } = map.scene.colors;
      map.scene.colors = { ...map.scene.colors, text: floor, vision: forced };
    }
    map.painter.resize(map.scene.view);
    map.painter.prepare(map.scene);
  }

  /* What no budget changes is made anew at the next drawing. */
  const forget = () => maps.forEach((map) => (map.scene = null));

  function draw() {
    if (!page.sideA || !page.scores || !root.clientWidth) return;
    const one = page.sideA.results[imageOfA()];
    const other = page.result;
    const linked = isLinked();
    hide(difference.root, !linked);
    hide(legend, !linked);
    if (!a.scene) prepareMap(a, page.sideA.images[imageOfA()], linked ? page.crop : "all");
    if (!b.scene) prepareMap(b, page.scores, page.crop);
    if (!difference.scene && linked) prepareMap(difference, page.scores, page.crop);
    a.painter.mask(a.scene, one);
    b.painter.mask(b.scene, other);
    if (linked) difference.painter.mask(difference.scene, differenceOf(one, other));
    present();
    a.canvas.setAttribute("aria-label", `A keeps ${one.size} of ${one.kept.length} visual tokens`);
    b.canvas.setAttribute("aria-label", `B keeps ${other.size} of ${page.scores.n} visual tokens`);
    difference.canvas.setAttribute("aria-label", "Kept tokens: those of A alone, of B alone, and of both");
  }

  /* Puts what is drawn on screen, with the pointed patch. */
  function present() {
    if (!page.sideA || !page.scores) return;
    for (const map of maps) {
      const linked = map !== a || isLinked();
      if (map.scene && !map.root.hidden) map.painter.show(map.scene, linked ? page.pointed : []);
    }
  }

  function name(nameOfA, nameOfB) {
    write(a.caption, `A: ${nameOfA}`);
    write(b.caption, `B: ${nameOfB}`);
    write(difference.caption, "Difference");
  }

  function redraw() {
    forget();
    draw();
  }
  for (const map of maps) {
    map.picture.addEventListener("load", redraw);
    map.canvas.addEventListener("pointermove", (event) => {
      if (page.pinned || !map.scene || (map === a && !isLinked())) return;
      const at = map.painter.pointAt(event.clientX, event.clientY);
      const tokens = at ? map.scene.view.crops.map((crop) => tokenAt(crop, ...at)) : [];
      page.pointAt(
        tokens.filter((token) => token >= 0),
        map.painter,
      );
    });
    map.canvas.addEventListener("pointerleave", () => page.pinned || page.pointAt([]));
  }
  new ResizeObserver(redraw).observe(root);
  return { root, forget, draw, present, name };
}
