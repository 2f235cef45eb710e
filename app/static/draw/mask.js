import { cellBox } from "./geometry.js";

/* The kept mask, composed in an array of pixels: thousands of outlines and corners in a small part of a frame. */
const GLYPHS = [[], ["text"], ["vision"], ["text", "vision"], ["floor"], ["forced"], ["method"]]; // by code of why
const ANCHORS = { text: 0, vision: 1, floor: 0.5, forced: 0.5, method: 0.5 };
const around = (middle, half, points) => points.map((p) => [middle + half * p[0], middle + half * p[1]]);
const SHAPES = {
  text: (near, far, size) => [
    [near, near],
    [near + size, near],
    [near, near + size],
  ],
  vision: (near, far, size) => [
    [far, far],
    [far - size, far],
    [far, far - size],
  ],
  floor: (near, far, size) =>
    around((near + far) / 2, 0.55 * size, [
      [-1, -1 / 3],
      [1, -1 / 3],
      [1, 1 / 3],
      [-1, 1 / 3],
    ]),
  forced: (near, far, size) =>
    around((near + far) / 2, 0.55 * size, [
      [0, -1],
      [1, 0],
      [0, 1],
      [-1, 0],
    ]),
  method: (near, far, size) =>
    around((near + far) / 2, 0.275 * size, [
      [-1, -1],
      [1, -1],
      [1, 1],
      [-1, 1],
    ]),
};

function surface(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas.getContext("2d", { willReadFrequently: true });
}

/* One glyph with its halo, as a list of x, y, red, green, blue, opacity. */
function glyph(name, size, density, colors) {
  const pad = Math.ceil(density) + 1;
  const box = Math.ceil(1.1 * size) + 2 * pad;
  const context = surface(box, box);
  SHAPES[name](pad, box - pad, size).forEach((p, i) => (i ? context.lineTo(p[0], p[1]) : context.moveTo(p[0], p[1])));
  context.closePath();
  context.fillStyle = colors[name];
  context.strokeStyle = colors.halo;
  context.lineWidth = 0.75 * density;
  context.fill();
  context.stroke();
  const found = context.getImageData(0, 0, box, box).data;
  const pixels = [];
  for (let at = 0; at < found.length; at += 4) {
    if (!found[at + 3]) continue;
    pixels.push((at / 4) % box, Math.floor(at / 4 / box), found[at], found[at + 1], found[at + 2], found[at + 3] / 255);
  }
  return {
    pixels: Float32Array.from(pixels),
    box: box,
    pad: pad,
    anchor: ANCHORS[name],
  };
}

/* Where a crop's cells lie on the canvas: the borders of its columns and rows, and a glyph for each reason. */
function gridOf(painter, crop, colors) {
  const borders = (count, side) =>
    Int32Array.from({ length: count + 1 }, (_, i) => Math.round(painter.place(cellBox(crop, i, i))[side]));
  const cell = painter.place(cellBox(crop, 0, 0));
  const size = Math.max(3, Math.min(cell[2], cell[3]) * 0.4);
  const glyphs = {};
  for (const name of Object.keys(SHAPES)) glyphs[name] = glyph(name, size, painter.density, colors);
  return {
    crop: crop,
    x: borders(crop.cols, 0),
    y: borders(crop.rows, 1),
    inset: Math.min(2.5 * painter.density, cell[2] * 0.12),
    glyphs: glyphs,
  };
}

/* The outline's pieces as x, y, x, y: wherever a kept cell meets one that is not. */
function outline(kept, grid) {
  const rows = grid.crop.rows;
  const cols = grid.crop.cols;
  const x = grid.x;
  const y = grid.y;
  const found = [];
  const at = (row, col) => row >= 0 && col >= 0 && row < rows && col < cols && kept[row * cols + col] === 1;
  for (let row = 0; row <= rows; row++) {
    for (let col = 0; col <= cols; col++) {
      const here = at(row, col);
      if (col < cols && here !== at(row - 1, col)) found.push(x[col], y[row], x[col + 1], y[row]);
      if (row < rows && here !== at(row, col - 1)) found.push(x[col], y[row], x[col], y[row + 1]);
    }
  }
  return found;
}

/* Everything no budget changes is made once, for a painter whose ground is prepared. The function it returns takes
     a selection and gives the mask's pixels: dropped patches dimmed; kept ones clear, outlined, and with a corner for
     each side that chose them. */
export function maskOf(painter, scene) {
  const width = painter.ground.width;
  const height = painter.ground.height;
  const colors = scene.colors;
  const words = (image) => new Uint32Array(image.data.buffer);
  const painted = function (picture, color) {
    const context = surface(width, height);
    if (picture) context.drawImage(picture, 0, 0);
    context.fillStyle = color;
    context.fillRect(0, 0, width, height);
    return words(context.getImageData(0, 0, width, height));
  };
  const ground = painted(painter.ground, "transparent");
  const dim = painted(painter.ground, colors.dim);
  const clear = scene.showPicture ? ground : painted(null, colors.keptFill);
  const halo = painted(null, colors.halo)[0];
  const line = painted(null, colors.line)[0];
  const grids = painter.view.crops.map((crop) => gridOf(painter, crop, colors));
  const finest = grids[painter.view.crops.indexOf(painter.view.finest)];
  const count = finest.crop.rows * finest.crop.cols;
  const thick = Math.max(1, Math.round(Math.min(1.5 * painter.density, (finest.x[1] - finest.x[0]) / 6)));
  const image = surface(1, 1).createImageData(width, height);
  const bytes = image.data;
  const out = words(image);

  function fill(left, top, right, bottom, color) {
    const from = Math.max(0, left);
    const to = Math.min(width, right);
    const last = Math.min(height, bottom);
    for (let y = Math.max(0, top); y < last; y++) {
      for (let at = y * width + from; at < y * width + to; at++) out[at] = color;
    }
  }
  function copyCell(source, grid, i) {
    const row = Math.floor(i / grid.crop.cols);
    const col = i % grid.crop.cols;
    const from = Math.max(0, grid.x[col]);
    const to = Math.min(width, grid.x[col + 1]);
    const last = Math.min(height, grid.y[row + 1]);
    for (let y = Math.max(0, grid.y[row]); y < last; y++) {
      for (let at = y * width + from; at < y * width + to; at++) out[at] = source[at];
    }
  }
  function stroke(pieces, weight, color) {
    const before = Math.floor(weight / 2);
    const after = weight - before;
    for (let i = 0; i < pieces.length; i += 4) {
      fill(pieces[i] - before, pieces[i + 1] - before, pieces[i + 2] + after, pieces[i + 3] + after, color);
    }
  }
  function stamp(mark, grid, row, col) {
    const place = (from, to) => {
      const low = from + grid.inset - mark.pad;
      const high = to - grid.inset + mark.pad - mark.box;
      return Math.round(low + mark.anchor * (high - low));
    };
    const left = place(grid.x[col], grid.x[col + 1]);
    const top = place(grid.y[row], grid.y[row + 1]);
    const pixels = mark.pixels;
    for (let i = 0; i < pixels.length; i += 6) {
      const x = left + pixels[i];
      const y = top + pixels[i + 1];
      const opacity = pixels[i + 5];
      if (x < 0 || y < 0 || x >= width || y >= height) continue;
      const at = 4 * (y * width + x);
      for (let c = 0; c < 3; c++) bytes[at + c] += (pixels[i + 2 + c] - bytes[at + c]) * opacity;
    }
  }

  function clearKept(kept, grid) {
    for (let i = 0; i < kept.length; i++) if (kept[i]) copyCell(clear, grid, i);
    const pieces = outline(kept, grid);
    stroke(pieces, thick + 2 * Math.round(painter.density), halo);
    stroke(pieces, thick, line);
  }

  const size = (grid) => grid.crop.rows * grid.crop.cols;
  const beneath = grids.filter((grid) => painter.beneath.includes(grid.crop));
  out.set(ground);
  for (const grid of [...beneath, finest]) for (let i = 0; i < size(grid); i++) copyCell(dim, grid, i);
  const nothingKept = out.slice();
  return function (result) {
    const kept = new Uint8Array(count);
    for (const layer of scene.layers) {
      for (let i = 0; i < count; i++) if (layer[i] >= 0 && result.kept[layer[i]]) kept[i] = 1;
    }
    out.set(nothingKept);
    for (const grid of beneath) clearKept(result.kept.subarray(grid.crop.offset, grid.crop.offset + size(grid)), grid);
    if (beneath.length) for (let i = 0; i < count; i++) copyCell(dim, finest, i);
    clearKept(kept, finest);
    for (const grid of grids) {
      for (let i = 0; i < size(grid); i++) {
        for (const name of GLYPHS[result.why[grid.crop.offset + i]]) {
          stamp(grid.glyphs[name], grid, Math.floor(i / grid.crop.cols), i % grid.crop.cols);
        }
      }
    }
    return image;
  };
}
