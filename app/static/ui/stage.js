/* The right side of Explore: toolbar, maps, saving, answers and inspector. */

import { bytes } from "../core/select.js";
import { answersSection } from "./answers.js";
import { makeCard } from "./card.js";
import { node } from "./dom.js";
import { makeInspector } from "./inspector.js";
import { makeMaps } from "./maps.js";
import { followPointer } from "./pointer.js";
import { saveTools } from "./saving.js";
import { followEdits } from "./stale.js";
import { page } from "./state.js";
import { makeStrip } from "./strip.js";
import { makeToolbar } from "./toolbar.js";

const ANNOUNCE_MS = 350; // so that a moving slider is not read out at every step

function makeAnnouncer() {
  const root = node("p", {
    class: "sr-only",
    role: "status",
    "aria-live": "polite",
    id: "live-summary",
  });
  let timer = 0;
  const announce = (text) => {
    clearTimeout(timer);
    timer = setTimeout(() => (root.textContent = text), ANNOUNCE_MS);
  };
  return { root, announce };
}

export function stage(element) {
  const announcer = makeAnnouncer();
  const inspector = makeInspector();
  const maps = makeMaps(inspector, announcer.announce);
  const toolbar = makeToolbar(maps.root);
  const card = makeCard();
  followPointer(maps, card, announcer.announce);
  const body = node("div", { class: "stage-body" }, [
    node("div", { class: "maps" }, [makeStrip(), maps.root, inspector.wordRow, saveTools()]),
    node("div", { class: "side" }, [node("div", { id: "answer-slot" }, [answersSection]), inspector.root]),
  ]);
  element.replaceChildren(
    node("div", { class: "stage" }, [toolbar, followEdits(body), body, card.root, announcer.root]),
  );

  page.on((what) => {
    if (what === "scores") inspector.showWords();
  });
  return (raw) => {
    page.tables = {
      cividis: bytes(raw.color_maps.cividis),
      viridis: bytes(raw.color_maps.viridis),
    };
    if (!page.load(raw)) return;
    page.notify("scores");
  };
}
