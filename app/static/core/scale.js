import { format } from "./format.js";

/* Maps values to positions on a color map, 0..1, and says what its ends and middle stand for. No DOM. */
const DROPPED_TO = 0.5;
const KEPT_FROM = 0.55;
const SHAPES = { root: Math.sqrt, linear: (share) => share };
const MIDDLES = { root: 0.25, linear: 0.5 };
const CAPTIONS = { root: "the square root of the value", linear: "the value", rank: "the rank" };

function highest(values) {
  let high = 0;
  for (const value of values) if (value > high) high = value;
  return high;
}

function rankOf(values) {
  const order = Uint32Array.from(values.keys()).sort((a, b) => values[b] - values[a] || a - b);
  const rank = new Uint32Array(order.length);
  order.forEach((token, at) => {
    rank[token] = at;
  });
  return rank;
}

/* A map of values; those below 0 count as 0. scale: root, linear or rank. least: at the right end, at least. ticks: the
   labels at the left end, middle and right end. */
function plain(values, scale, least = 0) {
  const n = values.length;
  const places = new Float32Array(n);
  if (scale === "rank") {
    rankOf(values).forEach((rank, i) => {
      places[i] = 1 - rank / Math.max(1, n - 1);
    });
    return { places: places, ticks: ["last", "", "first of " + n], caption: "Colors follow " + CAPTIONS.rank };
  }
  const high = Math.max(least, highest(values));
  const shape = SHAPES[scale];
  const text = format.value;
  if (high > 0) for (let i = 0; i < n; i++) places[i] = shape(Math.max(0, values[i]) / high);
  return {
    places: places,
    ticks: ["0", text(MIDDLES[scale] * high), text(high)],
    caption: "Colors follow " + CAPTIONS[scale],
  };
}

/* The mixed score passes 1 at the middle of the color map, so that kept tokens take the upper half. */
function mixed(values, scale) {
  const n = values.length;
  const places = new Float32Array(n);
  if (scale === "rank") {
    const kept = values.reduce((count, value) => count + (value >= 1), 0);
    const dropped = n - kept;
    rankOf(values).forEach(function (rank, i) {
      places[i] =
        rank < kept
          ? 1 - (1 - KEPT_FROM) * (rank / Math.max(1, kept - 1))
          : DROPPED_TO * (1 - (rank - kept) / Math.max(1, dropped - 1));
    });
    return {
      places: places,
      high: highest(values),
      ticks: ["last", "≥ 1 kept", "first"],
      caption: "Colors follow " + CAPTIONS.rank + ", separately for dropped and kept tokens",
    };
  }
  const high = Math.max(1, highest(values));
  const shape = SHAPES[scale];
  const span = Math.log(high);
  for (let i = 0; i < n; i++) {
    places[i] =
      values[i] < 1
        ? DROPPED_TO * shape(values[i])
        : span > 0
          ? KEPT_FROM + (1 - KEPT_FROM) * (Math.log(values[i]) / span)
          : 1;
  }
  return {
    places: places,
    high: high,
    ticks: ["0", "≥ 1 kept", format.value(high)],
    caption: "Colors follow " + CAPTIONS[scale] + " up to 1, its logarithm above 1",
  };
}

export { plain, mixed };
