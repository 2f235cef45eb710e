/* Marks what is shown as outdated once the picture, the question or a setting has been changed without asking. */

import { hide, node } from "./dom.js";
import { page } from "./state.js";

const WATCHED = { "#prompt": "question", "#more": "settings", "#share": "settings" };

/* element: what is dimmed. Gives the line that says why. */
export function followEdits(element) {
  const line = node("p", { class: "stale-line", role: "status", hidden: true });
  for (const kind of ["input", "change"]) {
    document.addEventListener(kind, (event) => {
      for (const [place, what] of Object.entries(WATCHED)) {
        const chooses = event.target.closest?.("#model, #view-offer");
        const late = kind === "change" && event.target.matches?.("textarea"); // on leaving, perhaps once asked
        if (event.target.closest?.(place) && !chooses && !late) page.markStale(what);
      }
    });
  }
  page.on((what) => {
    if (!["stale", "asked", "scores"].includes(what)) return;
    const names = Array.from(page.stale);
    element.toggleAttribute("data-stale", names.length > 0);
    hide(line, !names.length);
    line.textContent = `The ${names.join(" and the ")} changed since: press Ask to update.`;
  });
  return line;
}
