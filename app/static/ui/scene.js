/* What a Painter draws: scores, the part of the image that is shown, and the colors of the page. */

import { layersOf, viewOf } from "../draw/geometry.js";

const COLORS = {
  ground: "--stage-ground",
  dim: "--stage-dim",
  halo: "--stage-halo",
  line: "--stage-line",
  keptFill: "--stage-kept",
  hatch: "--stage-hatch",
  pointer: "--stage-pointer",
  text: "--why-text",
  vision: "--why-vision",
  floor: "--why-floor",
  forced: "--why-forced",
  method: "--why-method",
  refused: "--why-refused",
};

function colorsOf(element) {
  const style = getComputedStyle(element);
  const read = ([name, property]) => [name, style.getPropertyValue(property).trim()];
  return Object.fromEntries(Object.entries(COLORS).map(read));
}

/* element: where the page's colors are read. picture: an image, drawn once it is loaded. crop: its name, or "all".
   look: the color table, opacity, showPicture and forced marks. */
export function makeScene(element, scores, picture, crop, look) {
  const view = viewOf(scores, crop);
  const loaded = picture.complete && picture.naturalWidth > 0;
  return {
    scores,
    view,
    layers: layersOf(view),
    picture: loaded ? picture : null,
    colors: colorsOf(element),
    ...look,
  };
}
