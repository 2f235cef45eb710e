/* The state that all components of the page share: scores, slider step, marks, and which question is waiting. */

import { selectImages, totals, unpackImages } from "../core/images.js";

class PageState {
  images = []; // the scores of each picture of the question, unpacked
  shown = 0; // which of them the maps show
  scores = null; // those of the picture shown
  example = null; // the first payload of this page: the worked example
  tables = null; // color maps: 256 colors as bytes, by name
  step = 0; // the slider's position: an index into scores.steps
  forced = null; // Int8Array by token: 1 keep, -1 drop, 0 neither; null where nothing is marked
  results = []; // the selection of each picture at this step
  result = null; // that of the picture shown
  pointed = [];
  pointedOn = null;
  sideA = null; // what is pinned to be compared with what is shown, see compare.js
  wantsPin = false; // whether a link waits for side A to be pinned
  causal = null; // the newest causal map, as the server sent it
  block = 1; // side of the groups that the next one leaves out
  pinned = false; // whether the pointed patch stays when the pointer goes
  large = "kept"; // which of the maps is the large one
  word = -1; // whose T2I map is shown; -1 for the maximum over all counted words
  crop = "all";
  brush = "point";
  opacity = 0.78;
  colorMap = "cividis";
  scale = "root";
  showPicture = true;
  model = "";
  number = 0; // of the last question
  waiting = 0; // the question whose answer has not begun to arrive; 0 for none
  again = 0; // the question asked after a model was loaded; nothing is asked where the same model answers
  answers = null; // the newest answers of this question, as the server sent them
  times = null; // of both answers, as measured in turns: { pruned, full }
  stale = new Set(); // what was changed since the question: picture, question, settings
  #listeners = [];

  on(listener) {
    this.#listeners.push(listener);
  }
  notify(what) {
    this.#listeners.forEach((listener) => listener(what));
  }

  /* Returns false where the page already shows this content. */
  load(raw) {
    this.example ??= raw;
    if (raw.set_choice) this.stale.clear();
    const before = this.scores;
    if (before && before.key === raw.key && !raw.set_choice) return false;
    const ratio = before && !raw.set_choice ? before.steps[this.step].ratio : raw.keep_ratio;
    this.images = unpackImages(raw);
    const anew = !before || before.subject !== raw.subject || raw.set_choice;
    if (anew) this.shown = 0;
    this.scores = this.images[this.shown];
    this.step = this.nearest(this.scores.steps, ratio);
    if (anew || raw.rule !== "split") this.forced = null;
    if (raw.force_keep.length + raw.force_drop.length) {
      this.forced = new Int8Array(raw.n);
      raw.force_keep.forEach((i) => (this.forced[i] = 1));
      raw.force_drop.forEach((i) => (this.forced[i] = -1));
    }
    this.pointed = [];
    this.pinned = false;
    this.word = -1;
    this.crop = "all";
    this.choose();
    return true;
  }

  choose() {
    this.results = selectImages(this.images, this.step, this.forced);
    this.result = this.results[this.shown];
  }

  /* Shows the maps of another picture of the question. */
  showImage(index) {
    this.shown = index;
    this.scores = this.images[index];
    this.result = this.results[index];
    this.pointed = [];
    this.pinned = false;
    this.crop = "all";
    this.notify("image");
  }

  /* painter: of the map that is pointed at, if it is none of the four. */
  pointAt(tokens, painter = null) {
    if (tokens.join() === this.pointed.join() && painter === this.pointedOn) return;
    this.pointed = tokens;
    this.pointedOn = painter;
    this.notify("pointed");
  }

  /* Visual tokens of all pictures: how many there are, the budget, and how many are kept. */
  totals() {
    const kept = this.results.reduce((sum, result) => sum + result.size, 0);
    return { ...totals(this.images, this.step), kept };
  }

  /* Whether patches may be marked: by the method adafv, in a question about one picture. */
  get takesMarks() {
    return this.scores.rule === "split" && this.images.length === 1;
  }

  nearest(steps, ratio) {
    let best = 0;
    steps.forEach((step, i) => {
      if (Math.abs(step.ratio - ratio) < Math.abs(steps[best].ratio - ratio)) best = i;
    });
    return best;
  }

  moveTo(step) {
    if (!this.scores || step === this.step) return;
    this.step = Math.max(0, Math.min(this.scores.steps.length - 1, step));
    this.choose();
    this.notify("budget");
  }

  brushOn(tokens) {
    if (!this.scores || !this.takesMarks) return;
    const wanted = { keep: 1, drop: -1 }[this.brush] || 0;
    const marks = this.forced || new Int8Array(this.scores.n);
    const changed = tokens.filter((token) => marks[token] !== wanted);
    if (!changed.length) return;
    for (const token of changed) marks[token] = wanted;
    this.forced = marks.some((mark) => mark !== 0) ? marks : null;
    this.choose();
    this.notify("forced");
  }

  clearMarks() {
    this.forced = null;
    this.choose();
    this.notify("forced");
  }

  /* sideA: see compare.js; null lets it go. */
  pin(sideA) {
    this.sideA = sideA;
    this.notify("sideA");
  }

  setMarks(keep, drop) {
    if (!this.forced && !keep.length && !drop.length) return;
    const marks = new Int8Array(this.scores.n);
    keep.forEach((token) => (marks[token] = 1));
    drop.forEach((token) => (marks[token] = -1));
    this.forced = marks.some((mark) => mark !== 0) ? marks : null;
    this.choose();
    this.notify("forced");
  }

  /* The tokens that are marked: 1 for those to keep, -1 for those to drop. */
  marked(sign) {
    return Array.from((this.forced || []).keys()).filter((i) => this.forced[i] === sign);
  }

  /* What the server needs to know of the page, as JSON text: it travels as the slider's value. */
  choice() {
    const step = this.scores ? this.scores.steps[this.step] : { ratio: 0.1, budget: 0 };
    return JSON.stringify({
      keep_ratio: step.ratio,
      force_keep: this.marked(1),
      force_drop: this.marked(-1),
      subject: this.scores ? this.scores.subject : "",
      key: this.scores ? this.scores.key : "",
      model: this.model,
      asked: this.number,
      look: {
        color_map: this.colorMap,
        opacity: this.opacity,
        scale: this.scale,
        word: this.word,
        with_image: this.showPicture,
      },
      block: this.block,
    });
  }

  markStale(what) {
    if (this.stale.has(what)) return;
    this.stale.add(what);
    this.notify("stale");
  }

  /* Questions are numbered. Gradio's event scripts call these with the values that go to the server, and send on what
     they return. */
  count(values) {
    this.number += 1;
    return values;
  }
  ask(values) {
    this.count(values);
    this.waiting = this.number;
    this.stale.clear();
    this.notify("asked");
    return values;
  }
  askAgain(values) {
    this.ask(values);
    this.again = this.number;
    return values;
  }
  halt(values) {
    this.waiting = 0;
    this.notify("halted");
    return values;
  }
  answered(number) {
    if (this.waiting && number < this.waiting) return;
    this.waiting = 0;
    this.notify("answered");
  }
  sent(values) {
    return [this.choice(), ...values.slice(1)];
  }
}

export const page = new PageState();
