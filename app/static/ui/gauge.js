/* The curve over all splits of the budget, from all vision to all text, with the chosen one marked. */

import { splits } from "../core/select.js";
import { node } from "./dom.js";
import { page } from "./state.js";

const HEIGHT = 84;
const FIRST_WIDTH = 260;

export function makeGauge() {
  const canvas = node("canvas", { class: "gauge", role: "img" });
  const ends = node("div", { class: "gauge-ends" }, [
    node("span", { text: "all vision" }),
    node("span", { text: "all text" }),
  ]);
  const root = node("div", {}, [canvas, ends]);
  let colors = null;
  let width = FIRST_WIDTH;

  new ResizeObserver(() => {
    width = canvas.clientWidth || width;
    if (page.result && !root.hidden) draw(page.result);
  }).observe(canvas);

  /* To be called where light and dark may have changed. */
  function readColors() {
    const style = getComputedStyle(root);
    const color = (name) => style.getPropertyValue(name);
    colors = {
      line: color("--line"),
      fill: color("--gauge-fill"),
      curve: color("--ink-soft"),
      point: color("--accent"),
    };
  }

  function curveOf(result) {
    const { forced } = page;
    const scores = page.scores.together || page.scores;
    if (!forced) return splits(scores, result.budget, scores.orderText, scores.orderVision);
    const free = (order) => order.filter((token) => forced[token] === 0);
    const kept = forced.reduce((count, mark) => count + (mark > 0), 0);
    const curve = splits(scores, result.budget - kept, free(scores.orderText), free(scores.orderVision));
    return curve.best ? curve : { mean: new Float64Array(0), best: { product: 0 } };
  }

  function draw(result) {
    const { mean, best } = curveOf(result);
    const density = Math.min(window.devicePixelRatio || 1, 2);
    if (canvas.width !== Math.round(width * density)) {
      canvas.width = Math.round(width * density);
      canvas.height = HEIGHT * density;
    }
    if (!colors) readColors();
    const context = canvas.getContext("2d");
    context.setTransform(density, 0, 0, density, 0, 0);
    context.clearRect(0, 0, width, HEIGHT);

    const span = Math.max(1, mean.length - 1);
    const high = mean.reduce((highest, value) => Math.max(highest, value), 0);
    const x = (k) => 5 + (k / span) * (width - 10);
    const y = (value) => HEIGHT - 6 - (high ? value / high : 0) * (HEIGHT - 20);
    const step = Math.max(1, Math.floor(span / width));
    const trace = () => {
      context.beginPath();
      for (let k = 0; k < mean.length; k += step) context.lineTo(x(k), y(mean[k]));
      if (mean.length) context.lineTo(x(span), y(mean[mean.length - 1]));
    };
    const line = (...points) => {
      context.beginPath();
      points.forEach((point) => context.lineTo(...point));
      context.stroke();
    };

    context.strokeStyle = colors.line;
    context.lineWidth = 1;
    line([0, HEIGHT - 5.5], [width, HEIGHT - 5.5]);
    trace();
    context.lineTo(x(span), HEIGHT - 6);
    context.lineTo(x(0), HEIGHT - 6);
    context.closePath();
    context.fillStyle = colors.fill;
    context.fill();
    trace();
    context.strokeStyle = colors.curve;
    context.lineWidth = 1.5;
    context.stroke();

    const at = x(result.kText);
    const top = y(high ? Math.sqrt(best.product) : 0);
    context.setLineDash([2, 3]);
    line([at, top], [at, HEIGHT - 6]);
    context.setLineDash([]);
    context.fillStyle = colors.point;
    context.beginPath();
    context.arc(at, top, 4.5, 0, 7);
    context.fill();
    canvas.setAttribute(
      "aria-label",
      `Geometric mean over the splits of ${result.budget} tokens, from all vision to all text; the chosen one takes ` +
        `${result.kText} from the text ranking and ${result.kVisual} from saliency`,
    );
  }

  return { root, draw, readColors };
}
