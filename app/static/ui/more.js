/* Further pictures of the question: Gradio holds them in a file input out of sight; they are shown here. */

import { node } from "./dom.js";
import { page } from "./state.js";

const HELD = "#more-images";
const AGAIN_MS = 100;
const input = () => document.querySelector(HELD + " input[type=file]");

export function chooseMore() {
  input().value = ""; // so that the same file may be chosen again
  input().click();
}

/* Adds files to those that are held. */
export function addPictures(files) {
  if (!files.length) return;
  const transfer = new DataTransfer();
  files.forEach((file) => transfer.items.add(file));
  input().files = transfer.files;
  input().dispatchEvent(new Event("change", { bubbles: true }));
}

/* trigger: sends the component's events to the server. Gives the list of pictures. */
export function morePictures(trigger) {
  const root = node("div", { class: "more-pictures", role: "group", "aria-label": "Further pictures", hidden: true });
  let shown = "";

  const entry = (address, index) =>
    node("span", { class: "more-picture" }, [
      node("img", { src: address, alt: `Picture ${index + 2} of the question`, width: 48, height: 48 }),
      node("button", {
        type: "button",
        text: "×",
        "aria-label": `Take picture ${index + 2} away`,
        on: { click: () => remove(index) },
      }),
    ]);

  function remove(index) {
    page.markStale("picture");
    trigger("remove", { index });
  }

  function show() {
    const addresses = Array.from(document.querySelectorAll(HELD + " td.download a[href]"), (link) => link.href);
    if (addresses.join() === shown) return;
    shown = addresses.join();
    root.replaceChildren(...addresses.map(entry));
    root.hidden = !addresses.length;
    document.body.classList.toggle("several-pictures", addresses.length > 0);
  }

  function follow() {
    const held = document.querySelector(HELD);
    if (!held) return void setTimeout(follow, AGAIN_MS); // Gradio has not laid it out yet
    new MutationObserver(show).observe(held, { subtree: true, childList: true, attributeFilter: ["href"] });
    show();
  }
  document.addEventListener("change", (event) => {
    if (event.target.matches(HELD + " input[type=file]") && event.target.files.length) page.markStale("picture");
  });
  follow();
  return root;
}
