import { cellBox } from "./geometry.js";
import { maskOf } from "./mask.js";

/* Draws overlays of an image: one canvas, in layers that are prepared once and combined on every redraw. */
const HATCH_STEP = 7;
const TALLEST = { px: 420, share: 0.8 }; // of a canvas: so many pixels, or this share of the window where that is more
const LEAST_PX = 24; // what a pointer can hit

export class Painter {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.cells = document.createElement("canvas");
    this.still = document.createElement("canvas");
    this.ground = document.createElement("canvas");
  }

  resize(view) {
    const tallest = Math.max(TALLEST.px, TALLEST.share * window.innerHeight);
    const widest = (tallest * view.width) / view.height;
    const width = Math.min(this.canvas.parentElement.clientWidth || 1, widest);
    const height = (width * view.height) / view.width;
    const density = Math.min(window.devicePixelRatio || 1, 2);
    const pixels = [width, height].map((side) => Math.max(1, Math.round(side * density)));
    if (this.canvas.width !== pixels[0] || this.canvas.height !== pixels[1]) {
      this.canvas.width = this.still.width = pixels[0];
      this.canvas.height = this.still.height = pixels[1];
    }
    const style = this.canvas.style;
    const pad = (side) => Math.max(0, (LEAST_PX - side) / 2) + "px";
    style.aspectRatio = view.width + " / " + view.height;
    style.width = "min(100%, " + widest + "px)";
    style.padding = pad(height) + " " + pad(width);
    this.shown = [width, height];
    this.density = density;
    this.scale = pixels[0] / view.width;
    this.view = view;
    this.beneath = this.cropsBeneath();
  }

  /* Crops that reach beyond the finest: a coarser one where unpadding cut its edge away (there only it saw the image),
     or tiles beside it. Coarser ones come first, so that tiles are drawn over the whole picture. */
  cropsBeneath() {
    const bounds = (crop) => {
      const at = this.corners(crop.box);
      return [
        Math.max(0, at[0]),
        Math.max(0, at[1]),
        Math.min(this.still.width, at[2]),
        Math.min(this.still.height, at[3]),
      ];
    };
    const inner = bounds(this.view.finest);
    const area = (b) => (b[2] - b[0]) * (b[3] - b[1]);
    const beyond = (b) => b[0] < inner[0] || b[1] < inner[1] || b[2] > inner[2] || b[3] > inner[3];
    const cell = (crop) => cellBox(crop, 0, 0)[2];
    return this.view.crops
      .filter((crop) => crop !== this.view.finest && area(bounds(crop)) > 0 && beyond(bounds(crop)))
      .sort((a, b) => cell(b) - cell(a));
  }

  /* Left, top, right and bottom on the canvas, in whole pixels, of such a box in pixels of the image. */
  corners(box) {
    const at = this.place([box[0], box[1], box[2] - box[0], box[3] - box[1]]);
    return [at[0], at[1], at[0] + at[2], at[1] + at[3]].map(Math.round);
  }

  /* The point of the image under a pointer; beside the drawing, that nearest to it; null outside the canvas. */
  pointAt(clientX, clientY) {
    const rect = this.canvas.getBoundingClientRect();
    const box = this.view.box;
    if (clientX < rect.left || clientX >= rect.right || clientY < rect.top || clientY >= rect.bottom) return null;
    const share = (at, middle, size) => Math.min(Math.max((at - middle) / size + 0.5, 0), 1 - 1e-6);
    return [
      box[0] + share(clientX, rect.left + rect.width / 2, this.shown[0]) * this.view.width,
      box[1] + share(clientY, rect.top + rect.height / 2, this.shown[1]) * this.view.height,
    ];
  }

  /* Where such a box of the image lies in the window. */
  windowBox(box) {
    const [x, y, width, height] = this.place(box).map((length) => length / this.density);
    const rect = this.canvas.getBoundingClientRect();
    const left = rect.left + (rect.width - this.shown[0]) / 2;
    return new DOMRect(left + x, rect.top + (rect.height - this.shown[1]) / 2 + y, width, height);
  }

  place(box) {
    const origin = this.view.box;
    return [
      (box[0] - origin[0]) * this.scale,
      (box[1] - origin[1]) * this.scale,
      box[2] * this.scale,
      box[3] * this.scale,
    ];
  }

  /* The image at the canvas's size and the hatching, drawn once; every redraw lies between them. */
  prepare(scene) {
    this.ground.width = this.still.width;
    this.ground.height = this.still.height;
    const context = this.ground.getContext("2d");
    context.fillStyle = scene.colors.ground;
    context.fillRect(0, 0, this.ground.width, this.ground.height);
    if (scene.showPicture && scene.picture) {
      context.imageSmoothingQuality = "high";
      context.drawImage(scene.picture, ...this.place([0, 0, scene.scores.size[0], scene.scores.size[1]]));
    }
    this.hatching = this.hatch(scene);
    this.maskOf = null;
  }

  /* Nothing but the image. */
  blank() {
    const context = this.still.getContext("2d");
    context.drawImage(this.ground, 0, 0);
    if (this.hatching) context.drawImage(this.hatching, 0, 0);
  }

  /* heat: value in 0..1 by token; one below 0 is left clear. */
  heat(scene, heat) {
    const context = this.still.getContext("2d");
    const inner = this.corners(this.view.finest.box);
    context.drawImage(this.ground, 0, 0);
    for (const crop of this.beneath) {
      context.save();
      context.beginPath();
      context.rect(0, 0, this.still.width, this.still.height);
      context.rect(inner[0], inner[1], inner[2] - inner[0], inner[3] - inner[1]);
      context.clip("evenodd");
      this.color(context, scene, crop, (i) => heat[crop.offset + i]);
      context.restore();
    }
    this.color(context, scene, this.view.finest, (i) => {
      let value = -1;
      for (const layer of scene.layers) if (layer[i] >= 0) value = Math.max(value, heat[layer[i]]);
      return value;
    });
    if (this.hatching) context.drawImage(this.hatching, 0, 0);
  }

  /* One crop's cells in their colors. valueOf: 0..1 by cell. */
  color(context, scene, crop, valueOf) {
    const table = scene.table;
    if (this.cells.width !== crop.cols || this.cells.height !== crop.rows) {
      this.cells.width = crop.cols;
      this.cells.height = crop.rows;
    }
    const inner = this.cells.getContext("2d");
    const data = inner.createImageData(crop.cols, crop.rows);
    const alpha = Math.round(255 * (scene.showPicture ? scene.opacity : 1));
    for (let i = 0; i < crop.rows * crop.cols; i++) {
      const value = valueOf(i);
      const at = 3 * Math.round(255 * Math.min(1, Math.max(0, value)));
      data.data[4 * i] = table[at];
      data.data[4 * i + 1] = table[at + 1];
      data.data[4 * i + 2] = table[at + 2];
      data.data[4 * i + 3] = value < 0 ? 0 : alpha;
    }
    inner.putImageData(data, 0, 0);
    context.imageSmoothingEnabled = false;
    const at = this.corners(crop.box);
    context.drawImage(this.cells, at[0], at[1], at[2] - at[0], at[3] - at[1]);
  }

  mask(scene, result) {
    const context = this.still.getContext("2d");
    if (!this.maskOf) this.maskOf = maskOf(this, scene);
    context.putImageData(this.maskOf(result), 0, 0);
    if (this.hatching) context.drawImage(this.hatching, 0, 0);
  }

  snapped(cell) {
    const at = this.place(cell);
    const left = Math.round(at[0]);
    const top = Math.round(at[1]);
    return [left, top, Math.round(at[0] + at[2]) - left, Math.round(at[1] + at[3]) - top];
  }

  /* Whatever no crop covers, or what lies beyond the image, was never seen by the model (or was padding): hatched.
     Null where the model saw all that is shown. */
  hatch(scene) {
    const image = [0, 0, scene.scores.size[0], scene.scores.size[1]];
    const seen = this.view.crops.map((crop) => [
      Math.max(crop.box[0], image[0]),
      Math.max(crop.box[1], image[1]),
      Math.min(crop.box[2], image[2]),
      Math.min(crop.box[3], image[3]),
    ]);
    const box = this.view.box;
    const covered = seen.some(
      (s) => s[0] <= box[0] + 0.5 && s[1] <= box[1] + 0.5 && s[2] >= box[2] - 0.5 && s[3] >= box[3] - 0.5,
    );
    if (covered) return null;
    const hatching = document.createElement("canvas");
    const context = hatching.getContext("2d");
    const width = (hatching.width = this.still.width);
    const height = (hatching.height = this.still.height);
    for (const s of seen) {
      context.beginPath();
      context.rect(0, 0, width, height);
      context.rect(...this.place([s[0], s[1], s[2] - s[0], s[3] - s[1]]));
      context.clip("evenodd");
    }
    context.fillStyle = scene.colors.ground;
    context.fillRect(0, 0, width, height);
    context.strokeStyle = scene.colors.hatch;
    context.lineWidth = this.density;
    context.beginPath();
    for (let x = -height; x < width; x += HATCH_STEP * this.density) {
      context.moveTo(x, height);
      context.lineTo(x + height, 0);
    }
    context.stroke();
    return hatching;
  }

  /* Puts the finished layer on screen, with the pointed patch and forced patches marked on top. */
  show(scene, pointed) {
    const context = this.context;
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.drawImage(this.still, 0, 0);
    if (scene.forced) this.marks(context, scene);
    for (const token of pointed) {
      for (const crop of this.view.crops) {
        const i = token - crop.offset;
        if (i < 0 || i >= crop.rows * crop.cols) continue;
        const at = this.snapped(cellBox(crop, Math.floor(i / crop.cols), i % crop.cols));
        context.lineWidth = 4 * this.density;
        context.strokeStyle = scene.colors.halo;
        context.strokeRect(...at);
        context.lineWidth = 2 * this.density;
        context.strokeStyle = scene.colors.pointer;
        context.strokeRect(...at);
      }
    }
  }

  marks(context, scene) {
    context.lineWidth = 2 * this.density;
    for (const crop of this.view.crops) {
      for (let i = 0; i < crop.rows * crop.cols; i++) {
        const mark = scene.forced[crop.offset + i];
        if (!mark) continue;
        const at = this.snapped(cellBox(crop, Math.floor(i / crop.cols), i % crop.cols));
        const pad = Math.min(at[2], at[3]) * 0.28;
        context.strokeStyle = mark > 0 ? scene.colors.forced : scene.colors.refused;
        context.beginPath();
        context.moveTo(at[0] + pad, at[1] + pad);
        context.lineTo(at[0] + at[2] - pad, at[1] + at[3] - pad);
        if (mark < 0) {
          context.moveTo(at[0] + at[2] - pad, at[1] + pad);
          context.lineTo(at[0] + pad, at[1] + at[3] - pad);
        }
        context.stroke();
      }
    }
  }
}
