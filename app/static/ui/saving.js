/* Saving: the buttons below the maps, and what they show while the server writes the file. */

import { node } from "./dom.js";
import { copyLinkButton } from "./link.js";
import { page } from "./state.js";

const BUTTONS = { png: "Save PNG", json: "Save run" };
const buttons = {};

/* The files come from the server; these buttons stand in for Gradio's own, which are out of sight. */
export function saveTools() {
  const standIn = (text, target) =>
    node("button", {
      type: "button",
      text,
      on: {
        click: () => {
          const hidden = document.querySelector(target);
          if (hidden.type === "file") hidden.value = ""; // so that the same file may be opened again
          hidden.click();
        },
      },
    });
  for (const [name, text] of Object.entries(BUTTONS)) buttons[name] = standIn(text, `#save-${name}`);
  return node("div", { class: "save-tools", role: "group", "aria-label": "Save and open" }, [
    buttons.png,
    buttons.json,
    standIn("Open run", "#save-row input[type=file]"),
    copyLinkButton(),
  ]);
}

/* Saving a large picture takes seconds: its button says so until the file has arrived. */
function setBusy(name, busy) {
  const button = buttons[name];
  button.textContent = busy ? "Saving…" : BUTTONS[name];
  button.disabled = busy;
  button.setAttribute("aria-busy", String(busy));
}

/* Called by Gradio's event script once the server has answered: downloads the file, if there is one. */
export function saved(name) {
  setBusy(name, false);
  const file = document.querySelector(`#${name}-file a, a#${name}-file`) || document.querySelector(`#${name}-file`);
  if (file) file.click();
}

document.addEventListener("click", (event) => {
  for (const name of Object.keys(BUTTONS)) {
    if (!event.target.closest(`#save-${name}`)) continue;
    setBusy(name, true);
    page.notify("saving");
  }
});
