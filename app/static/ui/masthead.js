/* The top line: the page's name, the model, and the light and dark switch. */

import { node } from "./dom.js";
import { page } from "./state.js";

const STORED_AS = "adafv-dark";

/* Storage may be turned off in the browser; the choice then lasts until the page is closed. */
function store(dark) {
  try {
    localStorage.setItem(STORED_AS, dark ? "1" : "0");
  } catch {
    return;
  }
}
function stored() {
  try {
    return localStorage.getItem(STORED_AS);
  } catch {
    return null;
  }
}

function startsDark() {
  const wanted = new URL(location.href).searchParams.get("__theme");
  if (wanted) return wanted === "dark";
  const before = stored();
  return before ? before === "1" : matchMedia("(prefers-color-scheme: dark)").matches;
}

export function masthead(element) {
  const model = node("span", { class: "model-chip" });
  const toggle = node("button", {
    type: "button",
    class: "theme-toggle",
    "aria-label": "Switch between light and dark",
    on: { click: () => setDark(!document.body.classList.contains("dark")) },
  });
  function setDark(dark) {
    document.body.classList.toggle("dark", dark);
    toggle.textContent = dark ? "Light" : "Dark";
    store(dark);
    requestAnimationFrame(() => page.notify("theme"));
  }
  const fallback = node("p", {
    class: "notice",
    role: "status",
    "data-level": "warn",
  });
  const title = [node("h1", { text: "AdaFV" }), node("p", { text: "Which visual tokens does the question need?" })];
  const side = node("div", { class: "masthead-side" }, [model, toggle]);
  element.replaceChildren(node("header", { class: "masthead" }, [node("div", {}, title), side]));
  setDark(startsDark());
  return (value) => {
    page.model = value.name;
    model.textContent = value.model;
    model.title = value.detail || "";
    fallback.textContent = value.fallback || "";
    if (value.fallback) element.append(fallback);
    else fallback.remove();
  };
}
