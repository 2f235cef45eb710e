/* The view in the address: everything that makes it stands in the fragment, so that a reload, Back and a copied link
   bring it back. */

import { copyText, node } from "./dom.js";
import { page } from "./state.js";

const WRITE_MS = 250; // a moving slider is written once it rests
const COPIED_MS = 2000;
const LOOKS = { colorMap: "cividis", scale: "root", opacity: 0.78, showPicture: true, large: "kept" };
const CHOICES = {
  colorMap: ["cividis", "viridis"],
  scale: ["root", "linear", "rank"],
  large: ["t2i", "saliency", "mixed", "kept"],
};
const DEFAULTS = {
  temperature: 100,
  floor: 0,
  text_tokens: "question",
  positions: "default",
  share: "image",
  more_scenes: "",
};
const MARKS = { force_keep: 1, force_drop: -1 };
const NUMBERS = ["scene", "temperature", "floor", "max_new_tokens"];

const A_WAITS_MS = 15_000; // for side A to be shown and pinned, before the rest of a link is shown without it

let tab = "Explore";

/* What the server needs to know to ask for this view again. */
function askedView() {
  const { scene, prompt, method, ...settings } = page.scores.view;
  return { scene, prompt, method, ...settings };
}

function askedValues() {
  const values = new URLSearchParams();
  for (const [name, value] of Object.entries(askedView())) {
    if (value !== null && value !== undefined && value !== DEFAULTS[name]) values.set(name, value);
  }
  values.set("keep", page.scores.steps[page.step].ratio);
  for (const [name, sign] of Object.entries(MARKS)) {
    if (page.forced && page.marked(sign).length) values.set(name, page.marked(sign).join("."));
  }
  return values;
}

/* What is asked, without how it looks: side A of a comparison. */
export const viewFragment = () => askedValues().toString();

function fragment() {
  const values = askedValues();
  if (page.sideA) values.set("a", page.sideA.fragment);
  for (const [name, value] of Object.entries(LOOKS)) if (page[name] !== value) values.set(name, page[name]);
  if (tab !== "Explore") values.set("tab", tab);
  if (page.model) values.set("model", page.model);
  return "#" + values;
}

function read(hash) {
  const values = Object.fromEntries(new URLSearchParams(hash.slice(1)));
  for (const name of NUMBERS) if (name in values) values[name] = Number(values[name]);
  return values;
}

/* How the maps look and where the slider stands; nothing is asked for these. */
function applyLook(values) {
  for (const [name, usual] of Object.entries(LOOKS)) {
    const text = values[name];
    if (text === undefined) page[name] = usual;
    else if (typeof usual === "number") page[name] = Math.min(1, Math.max(0, Number(text) || 0));
    else if (typeof usual === "boolean") page[name] = text === "true";
    else if (CHOICES[name].includes(text)) page[name] = text;
  }
  page.notify("restored");
  if (Number(values.keep) > 0) page.moveTo(page.nearest(page.scores.steps, Number(values.keep)));
  const name = values.tab || "Explore";
  const target = Array.from(document.querySelectorAll("#tabs [role=tab]")).find(
    (one) => one.textContent.trim() === name,
  );
  if (target && tab !== name) target.click();
}

/* The marks of an address, on the maps that they were made on. */
function applyMarks(values) {
  if (!page.takesMarks) return;
  const [keep, drop] = Object.keys(MARKS).map((name) =>
    (values[name] || "")
      .split(".")
      .map(Number)
      .filter((token) => values[name] && Number.isInteger(token) && token >= 0 && token < page.scores.n),
  );
  page.setMarks(keep, drop);
}

const isAnother = (values) => {
  const shown = askedView();
  const wanted = { ...DEFAULTS, ...values };
  return Object.keys(shown).some((name) => (wanted[name] ?? null) !== (shown[name] ?? wanted[name] ?? null));
};

/* trigger: sends the component's events to the server. */
export function followLink(trigger) {
  let timer = 0;
  let shown = "";
  let restoring = null; // the values that are asked for
  let afterA = null; // what is shown once side A is there and pinned
  let patience = 0;

  function write(push) {
    clearTimeout(timer);
    if (afterA) return;
    const next = fragment();
    if (next === location.hash) return;
    if (push) history.pushState(null, "", next);
    else history.replaceState(null, "", next);
  }
  const writeSoon = () => {
    clearTimeout(timer);
    timer = setTimeout(() => write(false), WRITE_MS);
  };

  function restore() {
    if (!location.hash || !page.scores) return;
    const values = read(location.hash);
    const sideA = read("#" + (values.a || ""));
    if (sideA.prompt && page.sideA?.fragment !== values.a) {
      afterA = values;
      patience = setTimeout(goOn, A_WAITS_MS);
      if (page.sideA) page.pin(null);
      if (!show(sideA)) pinA();
      return;
    }
    if (!sideA.prompt && page.sideA) page.pin(null);
    show(values);
  }

  /* Whether the view has to be asked for. */
  function show(values) {
    restoring = values;
    applyLook(values);
    if (values.prompt && isAnother(values)) trigger("restore", values);
    else arrived();
    return Boolean(restoring);
  }

  function arrived() {
    const values = restoring;
    restoring = null;
    if (values) applyMarks(values);
  }

  function pinA() {
    page.wantsPin = true;
    page.notify("pin");
  }

  function goOn() {
    clearTimeout(patience);
    page.wantsPin = false;
    const values = afterA;
    afterA = null;
    if (values) show(values);
  }

  page.on((what) => {
    if (what === "scores" && page.scores.view.prompt) {
      const view = JSON.stringify(askedView());
      const first = !shown;
      if (first && location.hash) {
        shown = view;
        setTimeout(restore);
      } else if (afterA) {
        shown = view;
        arrived();
      } else {
        const push = !first && !restoring && shown !== view;
        shown = view;
        arrived();
        if (!first) write(push);
      }
    } else if (what === "answered" && afterA && !restoring && !page.sideA) pinA();
    else if (what === "pinned") goOn();
    else if (what === "sideA" && shown) writeSoon();
    else if (["budget", "forced", "look", "large"].includes(what) && shown && !restoring) writeSoon();
  });
  addEventListener("popstate", restore);
  document.addEventListener("click", (event) => {
    const chosen = event.target.closest?.("#tabs [role=tab]");
    if (!chosen) return;
    tab = chosen.textContent.trim();
    if (shown && !restoring) writeSoon();
  });
}

/* A button that copies the address of what is shown. */
export function copyLinkButton() {
  const button = node("button", { type: "button", text: "Copy link", on: { click: copy } });
  async function copy() {
    history.replaceState(null, "", fragment());
    await copyText(location.href);
    const { scene, more_scenes: more } = page.scores.view;
    button.textContent = scene === null || more === null ? "Copied, without the picture" : "Copied";
    setTimeout(() => (button.textContent = "Copy link"), COPIED_MS);
  }
  return button;
}
