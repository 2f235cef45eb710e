/* Numbers and units as text. No DOM. */

function scaled(x, units) {
  const [size, name] = units.find((unit) => x >= unit[0]) || [1, ""];
  const count = x / size;
  return (count >= 100 ? Math.round(count) : Number(count.toPrecision(3))) + " " + name;
}

function value(x) {
  if (x === 0) return "0";
  if (x >= 100000) return x.toExponential(1);
  if (x >= 100) return x.toFixed(0);
  if (x >= 1) return x.toFixed(2);
  return x >= 0.001 ? x.toPrecision(3) : x.toExponential(1);
}

function percent(ratio) {
  const shown = 100 * ratio >= 10 || ratio === 0 ? Math.round(100 * ratio) : Math.round(1000 * ratio) / 10;
  return shown + " %";
}

function seconds(s) {
  if (s < 0.0995) return (1000 * s).toPrecision(s < 0.00995 ? 2 : 3) + " ms";
  return s < 1 ? Math.round(1000 * s) + " ms" : s.toFixed(2) + " s";
}

const FLOPS = [
  [1e15, "P"],
  [1e12, "T"],
  [1e9, "G"],
  [1e6, "M"],
  [1e3, "k"],
  [1, ""],
];
const BYTES = [
  [2 ** 30, "Gi"],
  [2 ** 20, "Mi"],
  [2 ** 10, "Ki"],
  [1, ""],
];

export const format = {
  value,
  percent,
  seconds,
  exact: (ratio) => Number((100 * ratio).toFixed(1)) + " %",
  flops: (x) => scaled(x, FLOPS) + "FLOPs",
  bytes: (x) => scaled(x, BYTES) + "B",
};
