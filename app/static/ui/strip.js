/* The pictures of a question about several: each small with its kept tokens; a click shows its maps. */

import { Painter } from "../draw/painter.js";
import { hide, node, write } from "./dom.js";
import { makeScene } from "./scene.js";
import { page } from "./state.js";

export function makeStrip() {
  const root = node("div", { class: "strip", role: "group", "aria-label": "Pictures of the question", hidden: true });
  let cells = [];

  function makeCell(scores, index) {
    const canvas = node("canvas", { role: "img" });
    const caption = node("span");
    const on = { click: () => page.showImage(index) };
    const button = node("button", { type: "button", class: "strip-cell", on }, [
      node("span", { class: "strip-canvas" }, [canvas]),
      caption,
    ]);
    const cell = { button, canvas, caption, painter: new Painter(canvas), picture: new Image(), scene: null };
    cell.picture.addEventListener("load", () => redraw());
    cell.picture.src = scores.picture;
    return cell;
  }

  function build() {
    const several = page.images.length > 1;
    cells = several ? page.images.map(makeCell) : [];
    hide(root, !several);
    root.replaceChildren(...cells.map((cell) => cell.button));
  }

  function redraw() {
    if (!cells.length || !root.clientWidth) return;
    const { opacity, showPicture } = page;
    const look = { table: page.tables[page.colorMap], opacity, showPicture, forced: null };
    cells.forEach((cell, i) => {
      cell.scene = makeScene(root, page.images[i], cell.picture, "all", look);
      cell.painter.resize(cell.scene.view);
      cell.painter.prepare(cell.scene);
    });
    drawKept();
  }

  function drawKept() {
    cells.forEach((cell, i) => {
      if (!cell.scene) return;
      const result = page.results[i];
      cell.painter.mask(cell.scene, result);
      cell.painter.show(cell.scene, []);
      const kept = result.problem ? "nothing kept" : `${result.size} of ${page.images[i].n} kept`;
      write(cell.caption, `Picture ${i + 1}: ${kept}`);
      cell.canvas.setAttribute("aria-label", `Kept tokens of picture ${i + 1}`);
      cell.button.setAttribute("aria-pressed", String(i === page.shown));
    });
  }

  page.on((what) => {
    if (what === "scores") build();
    if (["scores", "look", "theme"].includes(what)) redraw();
    else if (["budget", "image"].includes(what)) drawKept();
  });
  new ResizeObserver(() => redraw()).observe(root);
  return root;
}
