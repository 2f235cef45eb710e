/* The state that all components of the page share: scores, slider step, marks, and which question is waiting. */

import { select, unpack } from "../core/select.js";

class PageState {
  scores = null; // what the server sent, unpacked
  example = null; // the first payload of this page: the worked example
  tables = null; // color maps: 256 colors as bytes, by name
  step = 0; // the slider's position: an index into scores.steps
  forced = null; // Int8Array by token: 1 keep, -1 drop, 0 neither; null where nothing is marked
  result = null; // the selection at this step
  pointed = [];
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
    this.scores = unpack(raw);
    this.step = this.nearest(this.scores.steps, ratio);
    const anew = !before || before.subject !== raw.subject || raw.set_choice;
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
    this.result = select(this.scores, this.step, this.forced);
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
    if (!this.scores || this.scores.rule !== "split") return;
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

  /* What the server needs to know of the page, as JSON text: it travels as the slider's value. */
  choice() {
    const step = this.scores ? this.scores.steps[this.step] : { ratio: 0.1, budget: 0 };
    const marked = (sign) => Array.from((this.forced || []).keys()).filter((i) => this.forced[i] === sign);
    return JSON.stringify({
      keep_ratio: step.ratio,
      force_keep: marked(1),
      force_drop: marked(-1),
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
