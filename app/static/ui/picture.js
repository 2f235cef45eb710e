/* Choosing the picture: one click for a file, the camera or the clipboard, a drop or paste anywhere, or an example.

   Gradio's image input stays out of sight; it uploads what is put into it and hands it to the server. */

import { node } from "./dom.js";
import { followLink } from "./link.js";
import { addPictures, chooseMore, morePictures } from "./more.js";
import { page } from "./state.js";

const HELD = "#question-image";
const CAMERA_WIDTH_PX = 1280;
const ADD = "Ask about a further picture together with this one";

function take(file) {
  const input = document.querySelector(HELD + " input[type=file]");
  const files = new DataTransfer();
  files.items.add(file);
  input.files = files.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
}

const picturesIn = (transfer) => Array.from(transfer?.files || []).filter((file) => file.type.startsWith("image/"));

function chooseFile() {
  const input = document.querySelector(HELD + " input[type=file]");
  input.value = ""; // so that the same file may be chosen again
  input.click();
}

/* say: shows a sentence beside the buttons. */
async function pasteWith(say) {
  try {
    for (const item of await navigator.clipboard.read()) {
      const type = item.types.find((one) => one.startsWith("image/"));
      if (!type) continue;
      take(
        new File([await item.getType(type)], "pasted." + type.split("/")[1], {
          type,
        }),
      );
      return;
    }
    say("There is no picture on the clipboard: copy one, then paste.");
  } catch {
    say("This browser does not hand out the clipboard to buttons: press Ctrl+V (⌘V on a Mac) instead.");
  }
}

async function photographWith(say) {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      video: { width: CAMERA_WIDTH_PX },
    });
  } catch {
    say("No camera can be used: allow it in the browser, or choose a file.");
    return;
  }
  const video = node("video", {
    autoplay: true,
    playsinline: true,
    muted: true,
    "aria-label": "Camera",
  });
  video.srcObject = stream;
  const shoot = node("button", {
    type: "button",
    class: "offer-button",
    text: "Take the picture",
  });
  const cancel = node("button", { type: "button", text: "Cancel" });
  const dialog = node("dialog", { class: "camera", "aria-label": "Camera" }, [
    video,
    node("div", { class: "camera-buttons" }, [shoot, cancel]),
  ]);
  dialog.addEventListener("close", () => {
    stream.getTracks().forEach((track) => track.stop());
    dialog.remove();
  });
  cancel.addEventListener("click", () => dialog.close());
  shoot.addEventListener("click", () => {
    const canvas = node("canvas", {
      width: video.videoWidth,
      height: video.videoHeight,
    });
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => {
      if (blob) take(new File([blob], "photograph.png", { type: "image/png" }));
      dialog.close();
    }, "image/png");
  });
  document.querySelector(".gradio-container").append(dialog);
  dialog.showModal();
}

function takeFromAnywhere() {
  const over = (event) => {
    if (!Array.from(event.dataTransfer?.types || []).includes("Files")) return;
    event.preventDefault();
    document.body.classList.toggle("dropping", event.type === "dragover");
  };
  for (const name of ["dragover", "dragleave"]) document.addEventListener(name, over);
  document.addEventListener(
    "drop",
    (event) => {
      document.body.classList.remove("dropping");
      const [file, ...more] = picturesIn(event.dataTransfer);
      const elsewhere = event.target.closest?.("input[type=file], .upload-container, [data-testid=file]");
      if (!file || (elsewhere && !elsewhere.closest(HELD))) return;
      event.preventDefault();
      event.stopPropagation();
      take(file);
      addPictures(more);
    },
    { capture: true },
  );
  document.addEventListener("paste", (event) => {
    const [file] = picturesIn(event.clipboardData);
    if (!file) return;
    event.preventDefault();
    take(file);
  });
}

/* Follows the picture that Gradio's input holds: its thumbnail, and whether the maps still belong to it. */
function followHeld(thumbnail) {
  const show = () => {
    const held = document.querySelector(HELD + " img");
    thumbnail.hidden = !held;
    if (held && thumbnail.src !== held.src) thumbnail.src = held.src;
  };
  document.addEventListener("load", (event) => event.target.closest?.(HELD) && show(), { capture: true });
  document.addEventListener("change", (event) => {
    if (event.target.matches(HELD + " input[type=file]") && event.target.files.length) page.markStale("picture");
  });
  show();
}

export function picture(element, trigger) {
  const status = node("p", { class: "picture-status", role: "status" });
  const say = (text) => (status.textContent = text);
  const thumbnail = node("img", {
    class: "held",
    alt: "The picture asked about",
    width: 64,
    height: 64,
  });
  const button = (text, run) => node("button", { type: "button", class: "chip", text, on: { click: run } });
  const sources = node("div", { class: "sources" }, [
    node("span", { class: "field-name", text: "Picture" }),
    node("div", { role: "group", "aria-label": "Choose a picture" }, [
      button("Upload", chooseFile),
      button("Camera", () => photographWith(say)),
      button("Paste", () => pasteWith(say)),
      node("button", { type: "button", class: "chip", text: "Add", title: ADD, on: { click: chooseMore } }),
    ]),
    node("small", { text: "or drop or paste one anywhere" }),
  ]);
  const scenes = node("div", {
    class: "examples",
    role: "group",
    "aria-label": "Example scenes",
  });
  element.replaceChildren(
    node("div", { class: "picture" }, [thumbnail, sources]),
    morePictures(trigger),
    status,
    scenes,
  );
  takeFromAnywhere();
  followHeld(thumbnail);
  followLink(trigger);
  page.on((what) => {
    if (what === "asked" || what === "stale") say("");
  });

  const example = (one, index) =>
    node(
      "button",
      {
        type: "button",
        class: "example",
        title: one.question,
        "aria-label": "Example: " + one.question,
        on: { click: () => trigger("choose", { index }) },
      },
      [node("img", { src: one.picture, alt: "", width: 64, height: 64 })],
    );
  return (value) => scenes.replaceChildren(...value.examples.map(example));
}
