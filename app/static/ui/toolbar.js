/* The line above the maps: brushes, crops, and how the maps are drawn. */

import { hide, node } from "./dom.js";
import { menu } from "./menu.js";
import { page } from "./state.js";

const BRUSHES = [
  ["point", "Inspect"],
  ["keep", "Force keep"],
  ["drop", "Force drop"],
  ["clear", "Unmark"],
];
const COLORS = [
  ["cividis", "cividis"],
  ["viridis", "viridis"],
];
const SCALES = [
  ["root", "square root"],
  ["linear", "linear"],
  ["rank", "rank"],
];

function setLook(name, value) {
  page[name] = value;
  page.notify("look");
}

/* panels: the element that holds the maps; it shows which brush is taken. */
export function makeToolbar(panels) {
  const brushes = BRUSHES.map(([name, text]) =>
    node("button", {
      type: "button",
      text,
      "data-brush": name,
      "aria-pressed": String(name === page.brush),
      on: { click: () => take(name) },
    }),
  );
  const reset = node("button", {
    type: "button",
    class: "quiet",
    text: "Clear marks",
    on: { click: () => page.clearMarks() },
  });
  const opacity = node("input", {
    type: "range",
    min: 0,
    max: 100,
    value: 100 * page.opacity,
    "aria-label": "Opacity of the maps",
    on: { input: () => setLook("opacity", opacity.value / 100) },
  });
  const picture = node("input", {
    type: "checkbox",
    checked: true,
    on: { change: () => setLook("showPicture", picture.checked) },
  });
  const crops = node("span", { class: "crops" });

  function take(name) {
    page.brush = name;
    brushes.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.brush === name)));
    panels.classList.toggle("brushing", name !== "point");
    offerReset();
  }

  /* It appears with a brush, not with the first mark: the maps must not move under a stroke. */
  function offerReset() {
    hide(reset, !page.forced && page.brush === "point");
    reset.disabled = !page.forced;
  }
  offerReset();

  function allowBrushes(allowed) {
    brushes.slice(1).forEach((button) => {
      button.disabled = !allowed;
      button.title = allowed ? "" : "Only the method adafv takes marks, about one picture";
    });
    if (!allowed) take("point");
  }

  function showCrops() {
    const names = page.scores.crops.map((crop) => crop.name);
    crops.replaceChildren();
    if (names.length < 2) return;
    const entries = [["all", "stitched"], ...names.map((name) => [name, name + " alone"])];
    const choose = (name) => {
      page.crop = name;
      page.pointed = [];
      page.pinned = false;
      page.notify("crop");
    };
    const select = menu("Crop", entries, "all", choose);
    select.className = "tool";
    select.firstChild.textContent = "Crops";
    crops.append(select);
  }

  const colors = menu("Colors", COLORS, page.colorMap, (name) => setLook("colorMap", name));
  const scale = menu("Scale", SCALES, page.scale, (name) => setLook("scale", name));

  page.on((what) => {
    if (what === "restored") {
      opacity.value = 100 * page.opacity;
      picture.checked = page.showPicture;
      colors.lastChild.value = page.colorMap;
      scale.lastChild.value = page.scale;
    }
    if (what === "scores") {
      showCrops();
      allowBrushes(page.takesMarks);
    }
    if (what === "image") showCrops();
    if (what === "scores" || what === "forced") offerReset();
  });
  return node(
    "div",
    {
      class: "toolbar",
      role: "toolbar",
      "aria-label": "How the maps are shown",
    },
    [
      node(
        "span",
        {
          class: "segments",
          role: "group",
          "aria-label": "What clicking a patch does",
        },
        brushes,
      ),
      reset,
      crops,
      node("span", { class: "spring" }),
      node("label", { class: "tool" }, [picture, node("span", { text: "Image" })]),
      node("label", { class: "tool" }, [node("span", { text: "Opacity" }), opacity]),
      menu("Colors", COLORS, page.colorMap, (name) => setLook("colorMap", name)),
      menu("Scale", SCALES, page.scale, (name) => setLook("scale", name)),
    ],
  );
}
