/* The lanes of the answer strip, on the slider's own scale. What is good is a full bar, what is not a stub, so that no
   lane is told by its color alone. */

import { format } from "../core/format.js";
import { node } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const LANE = 12;
const STUB = 4;
const GAP = 5;
const KL_HEIGHT = 20;
const KL_TOP = 0.1; // nats at full height, at least: less than that would look like much

function shape(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/* For each step the outcome to draw and whether it was measured itself: between equal neighbors theirs is drawn. */
function outcomes(points, name) {
  const drawn = points.map((point) => (point && point[name] !== null ? { good: point[name], own: true } : null));
  let before = -1;
  points.forEach((point, at) => {
    if (!point) return;
    const [left, right] = [drawn[before], drawn[at]];
    if (before >= 0 && left && right && left.good === right.good) {
      for (let i = before + 1; i < at; i += 1) drawn[i] = { good: left.good, own: false };
    }
    before = at;
  });
  return drawn;
}

/* choose: called with the step that was clicked. */
export function makeLanes(choose) {
  const image = shape("svg", { class: "answer-strip-lanes", role: "img", preserveAspectRatio: "none" });
  const marker = node("i", { class: "answer-strip-marker" });
  const root = node("div", { class: "answer-strip-scale" }, [image, marker]);
  const legend = node("p", { class: "answer-strip-legend" });
  let count = 0;

  image.addEventListener("click", (event) => {
    const box = image.getBoundingClientRect();
    const at = Math.round(((event.clientX - box.left) / box.width) * (count - 1));
    choose(Math.min(count - 1, Math.max(0, at)));
  });

  function lane(points, name, top) {
    const bars = [];
    outcomes(points, name).forEach((outcome, at) => {
      if (!outcome) return;
      const size = outcome.good ? LANE : STUB;
      const kind = `${name}-${outcome.good ? "yes" : "no"}${outcome.own ? "" : " between"}`;
      bars.push(shape("rect", { class: kind, x: at - 0.5, y: top + LANE - size, width: 1, height: size }));
    });
    return bars;
  }

  function divergence(points, top, highest) {
    return points.flatMap((point, at) => {
      if (!point || point.kl_nats === null) return [];
      const size = Math.max(0.8, KL_HEIGHT * Math.sqrt(Math.max(0, point.kl_nats) / Math.max(KL_TOP, highest)));
      const box = { x: at - 0.42, y: top + KL_HEIGHT - size, width: 0.84, height: size };
      return [shape("rect", { class: "kl", ...box })];
    });
  }

  const swatch = (kind, text) => node("span", { class: "answer-strip-key" }, [node("i", { class: kind }), text]);

  /* points: by slider step, null where nothing is measured. strip: their strip, or null. */
  function draw(points, strip) {
    count = points.length;
    const judged = points.some((point) => point && point.correct !== null);
    const klTop = (LANE + GAP) * (judged ? 2 : 1);
    const height = klTop + KL_HEIGHT;
    const found = points.filter((point) => point && point.kl_nats !== null);
    const highest = found.reduce((most, point) => Math.max(most, point.kl_nats), 0);
    image.setAttribute("viewBox", `0 0 ${Math.max(1, count - 1)} ${height}`);
    image.style.height = `${height}px`;
    image.replaceChildren(
      ...[0, ...(judged ? [LANE + GAP] : [])].map((y) =>
        shape("rect", { class: "ground", x: -0.5, y, width: count, height: LANE }),
      ),
      ...lane(points, "same", 0),
      ...(judged ? lane(points, "correct", LANE + GAP) : []),
      ...divergence(points, klTop, highest),
    );
    image.setAttribute("aria-label", (strip && strip.sentence) || "Nothing is measured yet");
    legend.replaceChildren(
      swatch("same-yes", "same answer"),
      swatch("same-no", "another"),
      ...(judged ? [swatch("correct-yes", "right"), swatch("correct-no", "wrong")] : []),
      swatch("kl", `KL, up to ${format.value(highest)} nats`),
    );
  }

  /* Moved by its own width, so that a frame of the slider paints no bar again. */
  function mark(step) {
    marker.style.transform = `translateX(${(100 * step) / Math.max(1, count - 1)}%)`;
  }
  return { root, legend, draw, mark };
}
