/* The page's own controls. Text from anywhere reaches the page through textContent only. */
(function () {
  "use strict";
  const adafv = (window.adafv = window.adafv || {});
  const page = (adafv.page = {
    scores: null, stop: 0, forced: null, result: null, pointed: [], word: -1, crop: "all", brush: "point",
    opacity: 0.78, colorMap: "cividis", scale: "root", showPicture: true, listeners: [], model: "", number: 0, waiting: 0, again: 0,
  });

  page.on = (listener) => page.listeners.push(listener);
  page.tell = (what) => page.listeners.forEach((listener) => listener(what));

  /* Returns false where the page already shows this content. */
  page.load = function (raw) {
    const before = page.scores;
    if (before && before.key === raw.key && !raw.set_choice) return false;
    const ratio = before && !raw.set_choice ? before.stops[page.stop].ratio : raw.keep_ratio;
    page.scores = adafv.core.unpack(raw);
    page.stop = nearest(page.scores.stops, ratio);
    if (!before || before.subject !== raw.subject || raw.rule !== "split" || raw.set_choice) page.forced = null;
    if (raw.force_keep.length + raw.force_drop.length) {
      page.forced = new Int8Array(raw.n);
      raw.force_keep.forEach((i) => { page.forced[i] = 1; });
      raw.force_drop.forEach((i) => { page.forced[i] = -1; });
    }
    page.pointed = [];
    page.word = -1;
    page.crop = "all";
    page.choose();
    return true;
  };

  page.choose = function () {
    page.result = adafv.core.select(page.scores, page.stop, page.forced);
  };

  function nearest(stops, ratio) {
    let best = 0;
    stops.forEach((stop, i) => { if (Math.abs(stop.ratio - ratio) < Math.abs(stops[best].ratio - ratio)) best = i; });
    return best;
  }
  page.nearest = nearest;

  page.moveTo = function (stop) {
    if (!page.scores || stop === page.stop) return;
    page.stop = Math.max(0, Math.min(page.scores.stops.length - 1, stop));
    page.choose();
    page.tell("budget");
  };

  page.brushOn = function (tokens) {
    if (!page.scores || page.scores.rule !== "split") return;
    const wanted = page.brush === "keep" ? 1 : page.brush === "drop" ? -1 : 0, marks = page.forced || new Int8Array(page.scores.n);
    const changed = tokens.filter((token) => marks[token] !== wanted);
    if (!changed.length) return;
    for (const token of changed) marks[token] = wanted;
    page.forced = marks;
    if (!page.forced.some((mark) => mark !== 0)) page.forced = null;
    page.choose();
    page.tell("forced");
  };

  page.choice = function () {
    const stop = page.scores ? page.scores.stops[page.stop] : { ratio: 0.1, budget: 0 };
    const marked = (sign) => (page.forced ? Array.from(page.forced.keys()).filter((i) => page.forced[i] === sign) : []);
    return JSON.stringify({ keep_ratio: stop.ratio, force_keep: marked(1), force_drop: marked(-1),
      subject: page.scores ? page.scores.subject : "", key: page.scores ? page.scores.key : "", model: page.model, asked: page.number,
      look: { color_map: page.colorMap, opacity: page.opacity, scale: page.scale, word: page.word, with_image: page.showPicture } });
  };

  /* What is asked has a number. `waiting` is that of the question whose answer has not begun to come. Each takes the
     values that go to the server and hands them on. `again` is the number of what is asked after a model was loaded,
     which is nothing where the same one answers. */
  page.count = function (values) {
    page.number += 1;
    return values;
  };
  page.ask = function (values) {
    page.count(values);
    page.waiting = page.number;
    page.tell("asked");
    return values;
  };
  page.askAgain = function (values) {
    page.ask(values);
    page.again = page.number;
    return values;
  };
  page.halt = function (values) {
    page.waiting = 0;
    page.tell("halted");
    return values;
  };
  page.answered = function (number) {
    if (page.waiting && number < page.waiting) return;
    page.waiting = 0;
    page.tell("answered");
  };
  page.sent = (values) => [page.choice(), ...values.slice(1)];

  function node(tag, options, children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(options || {})) {
      if (name === "text") made.textContent = value;
      else if (name === "on") Object.entries(value).forEach(([event, run]) => made.addEventListener(event, run));
      else if (value === true) made.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
    }
    for (const child of children || []) made.append(child);
    return made;
  }
  adafv.node = node;

  /* What already says so is left alone: a text that is set again is laid out again. */
  adafv.write = function (element, text) {
    if (element.textContent !== text) element.textContent = text;
  };

  adafv.format = {
    exact: (ratio) => Number((100 * ratio).toFixed(1)) + " %",
    percent: (ratio) => (100 * ratio >= 10 || ratio === 0 ? Math.round(100 * ratio) : Math.round(1000 * ratio) / 10) + " %",
    value: (x) => (x === 0 ? "0" : x >= 100000 ? x.toExponential(1) : x >= 100 ? x.toFixed(0) : x >= 1 ? x.toFixed(2) : x >= 0.001 ? x.toPrecision(3) : x.toExponential(1)),
    seconds: (s) => (s < 0.0995 ? (1000 * s).toPrecision(s < 0.00995 ? 2 : 3) + " ms" : s < 1 ? Math.round(1000 * s) + " ms" : s.toFixed(2) + " s"),
    flops: (x) => scaled(x, [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""]]) + "FLOPs",
    bytes: (x) => scaled(x, [[2 ** 30, "Gi"], [2 ** 20, "Mi"], [2 ** 10, "Ki"], [1, ""]]) + "B",
  };
  function scaled(x, units) {
    const [size, name] = units.find((unit) => x >= unit[0]) || [1, ""];
    const value = x / size;
    return (value >= 100 ? Math.round(value) : Number(value.toPrecision(3))) + " " + name;
  }

  const parts = {};
  adafv.part = (name, build) => { parts[name] = build; };

  /* Called once for each of the page's own components, from its js_on_load. */
  adafv.mount = function (name, element, trigger, props, watch) {
    const show = parts[name](element, trigger, props);
    let last = null;
    const update = function () {
      const text = props.value;
      if (!text || text === last) return;
      last = text;
      let value;
      try { value = JSON.parse(text); } catch (error) { return; }
      show(value);
    };
    watch("value", update);
    update();
  };
})();
