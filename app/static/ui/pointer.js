/* Pointing at patches, pinning one, and brushing over them, by mouse, touch and keyboard; all maps show the same
   pointed patch, with its values on a card beside it. */

import { cellBox, tokenAt } from "../draw/geometry.js";
import { pointedSentence } from "./card.js";
import { page } from "./state.js";

const STEPS = {
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
};
const within = (count, at) => Math.max(0, Math.min(count - 1, at));

/* maps: what makeMaps returned. card: what makeCard returned. announce: says a sentence to screen readers. */
export function followPointer(maps, card, announce) {
  let panel = page.large; // the map beside whose patch the card stands

  /* The pointed patch in the window, in the finest crop shown. */
  function pointedBox() {
    const crop = maps.scene()?.view.finest;
    const isIn = (token) => token >= crop.offset && token < crop.offset + crop.rows * crop.cols;
    const at = crop && page.pointed.find(isIn);
    if (at === undefined || !maps.root.clientWidth) return null;
    const i = at - crop.offset;
    return (page.pointedOn || maps.painterOf(panel)).windowBox(cellBox(crop, Math.floor(i / crop.cols), i % crop.cols));
  }
  const showCard = () => card.show(pointedBox());

  function pointAt(tokens, on = panel) {
    if (tokens.join() === page.pointed.join() && on === panel && !page.pointedOn) return;
    panel = on;
    if (tokens.join() === page.pointed.join() && !page.pointedOn) showCard();
    else page.pointAt(tokens);
  }
  function letGo() {
    page.pinned = false;
    pointAt([]);
  }
  function pin(tokens, on) {
    const again = page.pinned && tokens.join() === page.pointed.join();
    page.pinned = !again;
    pointAt(tokens, on);
    showCard();
  }

  /* The tokens at a point of the image, those of the finest crop first. */
  function tokensAt(x, y) {
    const finestFirst = maps
      .scene()
      .view.crops.slice()
      .sort((a, b) => b.rows * b.cols - a.rows * a.cols);
    return finestFirst.map((crop) => tokenAt(crop, x, y)).filter((token) => token >= 0);
  }

  /* Where a pointer is: its map, the point of the image, and the tokens there. */
  function spotUnder(event) {
    const name = event.target.closest("canvas")?.dataset.panel;
    if (!name || !maps.scene()) return null;
    const at = maps.painterOf(name).pointAt(event.clientX, event.clientY);
    return at && { name, at, tokens: tokensAt(...at) };
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
    if (!page.pinned) pointAt(spot.tokens, spot.name);
    if (!(event.buttons & 1) || page.brush === "point") return;
    page.brushOn(tokensBetween(stroke && stroke.name === spot.name ? stroke.at : spot.at, spot.at));
    stroke = spot;
  });
  maps.root.addEventListener("pointerdown", (event) => {
    const spot = spotUnder(event);
    if (!spot || page.brush === "point") return;
    page.pinned = false;
    pointAt(spot.tokens, spot.name);
    event.preventDefault();
    page.brushOn(spot.tokens.slice(0, 1));
    stroke = spot;
  });
  addEventListener("pointerup", endStroke);
  maps.root.addEventListener("click", (event) => {
    const spot = page.brush === "point" && spotUnder(event);
    if (!spot) return;
    if (spot.name === page.large) pin(spot.tokens, spot.name);
    else maps.enlarge(spot.name);
  });
  maps.root.addEventListener("pointerleave", () => {
    endStroke();
    if (maps.scene() && !page.pinned) pointAt([]);
  });

  function move([down, right]) {
    const { view, layers } = maps.scene();
    const crop = view.finest;
    const at = page.pointed.length ? page.pointed[0] - crop.offset : -1;
    const row = at < 0 ? crop.rows >> 1 : within(crop.rows, Math.floor(at / crop.cols) + down);
    const col = at < 0 ? crop.cols >> 1 : within(crop.cols, (at % crop.cols) + right);
    const tokens = layers.map((layer) => layer[row * crop.cols + col]).filter((token) => token >= 0);
    pointAt(tokens, page.large);
    announce(pointedSentence());
  }

  maps.root.addEventListener("keydown", (event) => {
    if (!maps.scene() || event.target !== maps.root) return;
    if (STEPS[event.key]) move(STEPS[event.key]);
    else if (event.key.toLowerCase() === "a" && !event.ctrlKey && !event.metaKey) page.notify("pin");
    else if (event.key === " " && page.pointed.length) page.brushOn(page.pointed.slice(0, 1));
    else if (event.key === "Enter" && page.pointed.length) pin(page.pointed, page.large);
    else if (maps.names[event.key - 1]) maps.enlarge(maps.names[event.key - 1]);
    else return;
    event.preventDefault();
  });
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && page.pointed.length) letGo();
  });
  addEventListener("scroll", showCard, { capture: true, passive: true });
  page.on((what) => {
    if (what === "large") panel = page.large;
    if (what === "pointed" && maps.scene()) maps.present();
    if (["scores", "image", "budget", "forced", "word", "large", "crop", "pointed"].includes(what)) showCard();
  });
}
