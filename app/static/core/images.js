/* The images of a question: their scores from one payload, and what each keeps of its own or of a shared budget.
   No DOM. */

import { select, unpack } from "./select.js";

/* The scores of each image. With one budget for all, they are parts of `together`, whose token `first` is the part's
   first one. */
export function unpackImages(raw) {
  const whole = unpack(raw);
  const others = raw.images || [];
  if (!others.length) return [whole];
  if (raw.share !== "all") {
    const { key, subject, view, from_file } = whole;
    return [whole, ...others.map((body) => Object.assign(unpack(body), { key, subject, view, from_file }))];
  }
  let next = 0;
  return others.map((image) => {
    const first = next;
    next += image.n;
    return partOf(whole, image, first);
  });
}

function partOf(together, image, first) {
  const part = (values) => values.subarray(first, first + image.n);
  const names = ["t2i", "saliency", "rankText", "rankVision"];
  const own = Object.fromEntries(names.map((name) => [name, part(together[name])]));
  const words = together.words.map((word) => ({ ...word, map: part(word.map) }));
  return { ...together, ...image, ...own, words, together, first };
}

/* What each image keeps at this step: kText, kVisual and the budget of a shared one are those of all images. */
export function selectImages(images, step, forced) {
  const { together } = images[0];
  if (!together) return images.map((scores) => select(scores, step, forced));
  const whole = select(together, step, null);
  return images.map(({ first, n }) => {
    const part = (values) => values.slice(first, first + n);
    const kept = part(whole.kept);
    const size = kept.reduce((sum, one) => sum + one, 0);
    return { ...whole, kept, size, why: part(whole.why), mixed: part(whole.mixed) };
  });
}

/* Tokens of all images: how many there are, and the budget at this step. */
export function totals(images, step) {
  const { together } = images[0];
  const units = together ? [together] : images;
  const sum = (count) => units.reduce((total, one) => total + count(one), 0);
  return { n: sum((one) => one.n), budget: sum((one) => one.steps[step].budget) };
}
