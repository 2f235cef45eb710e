/* Where crops and their cells lie on the image, in pixels of the image. */

/* The part of the plane that is shown: the image and whatever the crops cover beyond it. */
export function viewOf(scores, cropName) {
  const shown = scores.crops.filter((crop) => cropName === "all" || crop.name === cropName);
  let box = cropName === "all" ? [0, 0, scores.size[0], scores.size[1]] : shown[0].box.slice();
  for (const crop of shown) {
    box = [
      Math.min(box[0], crop.box[0]),
      Math.min(box[1], crop.box[1]),
      Math.max(box[2], crop.box[2]),
      Math.max(box[3], crop.box[3]),
    ];
  }
  const finest = shown.reduce((a, b) => (a.rows * a.cols >= b.rows * b.cols ? a : b));
  return {
    box: box,
    crops: shown,
    finest: finest,
    width: box[2] - box[0],
    height: box[3] - box[1],
  };
}

export function cellBox(crop, row, col) {
  const w = (crop.box[2] - crop.box[0]) / crop.cols;
  const h = (crop.box[3] - crop.box[1]) / crop.rows;
  return [crop.box[0] + col * w, crop.box[1] + row * h, w, h];
}

export function tokenAt(crop, x, y) {
  const col = Math.floor(((x - crop.box[0]) / (crop.box[2] - crop.box[0])) * crop.cols);
  const row = Math.floor(((y - crop.box[1]) / (crop.box[3] - crop.box[1])) * crop.rows);
  if (col < 0 || row < 0 || col >= crop.cols || row >= crop.rows) return -1;
  return crop.offset + row * crop.cols + col;
}

/* For each cell of the finest shown crop, the tokens that cover its middle: itself, then those of coarser crops. */
export function layersOf(view) {
  const crop = view.finest;
  const layers = [new Int32Array(crop.rows * crop.cols).map((_, i) => crop.offset + i)];
  for (const other of view.crops) {
    if (other === crop) continue;
    layers.push(
      new Int32Array(crop.rows * crop.cols).map(function (_, i) {
        const cell = cellBox(crop, Math.floor(i / crop.cols), i % crop.cols);
        return tokenAt(other, cell[0] + cell[2] / 2, cell[1] + cell[3] / 2);
      }),
    );
  }
  return layers;
}
