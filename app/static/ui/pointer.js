/* Pointing at patches and brushing over them, by mouse, touch and keyboard; all maps show the same pointed patch. */

import { cellBox, tokenAt } from "../draw/geometry.js";
import { page } from "./state.js";

const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
const within = (count, at) => Math.max(0, Math.min(count - 1, at));

/* maps: what makeMaps returned. announce: says a sentence to screen readers. */
export function followPointer(maps, inspector, announce) {
  function pointAt(tokens) {
    if (tokens.join() === page.pointed.join()) return;
    page.pointed = tokens;
    maps.present();
    inspector.showPointed();
  }

  /* The tokens at a point of the image, those of the finest crop first. */
  function tokensAt(x, y) {
    const finestFirst = maps
      .scene()
      .view.crops.slice()
      .sort((a, b) => b.rows * b.cols - a.rows * a.cols);
    return finestFirst.map((crop) => tokenAt(crop, x, y)).filter((token) => token >= 0);
  }

  /* Where a pointer is: its canvas, the point of the image, and the tokens there. */
  function spotUnder(event) {
    const canvas = event.target.closest("canvas");
    if (!canvas || !maps.scene()) return null;
    const at = maps.painterOf(canvas).pointAt(event.clientX, event.clientY);
    return at && { canvas, at, tokens: tokensAt(...at) };
  }

  /* The tokens that a stroke passes between two positions of the pointer, in steps of half a cell. */
  function tokensBetween(from, to) {
    const [, , width, height] = cellBox(maps.scene().view.finest, 0, 0);
    const cells = Math.max(Math.abs(to[0] - from[0]) / width, Math.abs(to[1] - from[1]) / height);
    const steps = Math.max(1, Math.ceil(2 * cells));
    const passed = new Set();
    for (let i = 0; i <= steps; i++) {
      const point = [0, 1].map((axis) => from[axis] + (i / steps) * (to[axis] - from[axis]));
      const tokens = tokensAt(...point);
      if (tokens.length) passed.add(tokens[0]);
    }
    return Array.from(passed);
  }

  let stroke = null;
  const endStroke = () => (stroke = null);

  maps.root.addEventListener("pointermove", (event) => {
    const spot = spotUnder(event);
    if (!spot) {
      endStroke();
      return;
    }
    pointAt(spot.tokens);
    if (!(event.buttons & 1) || page.brush === "point") return;
    page.brushOn(tokensBetween(stroke && stroke.canvas === spot.canvas ? stroke.at : spot.at, spot.at));
    stroke = spot;
  });
  maps.root.addEventListener("pointerdown", (event) => {
    const spot = spotUnder(event);
    if (!spot) return;
    pointAt(spot.tokens);
    if (page.brush === "point") return;
    event.preventDefault();
    page.brushOn(spot.tokens.slice(0, 1));
    stroke = spot;
  });
  addEventListener("pointerup", endStroke);
  maps.root.addEventListener("pointerleave", () => {
    endStroke();
    if (maps.scene()) pointAt([]);
  });

  function move([down, right]) {
    const { view, layers } = maps.scene();
    const crop = view.finest;
    const at = page.pointed.length ? page.pointed[0] - crop.offset : -1;
    const row = at < 0 ? crop.rows >> 1 : within(crop.rows, Math.floor(at / crop.cols) + down);
    const col = at < 0 ? crop.cols >> 1 : within(crop.cols, (at % crop.cols) + right);
    pointAt(layers.map((layer) => layer[row * crop.cols + col]).filter((token) => token >= 0));
    announce(inspector.sentence());
  }

  maps.root.addEventListener("keydown", (event) => {
    if (!maps.scene()) return;
    if (STEPS[event.key]) move(STEPS[event.key]);
    else if (event.key === " " && page.pointed.length) page.brushOn(page.pointed.slice(0, 1));
    else if (event.key === "Escape") pointAt([]);
    else return;
    event.preventDefault();
  });
}
