/* Saving a large picture takes seconds: its button says so until the file is there. */
(function () {
  "use strict";
  const adafv = window.adafv;
  const NAMES = { png: "Save PNG", json: "Save run" };
  const button = (name) => Array.from(document.querySelectorAll(".save-tools button")).find((one) => (one.dataset.name || one.textContent) === NAMES[name]);

  function busy(name, on) {
    const shown = button(name);
    if (!shown) return;
    shown.dataset.name = NAMES[name];
    shown.textContent = on ? "Saving…" : NAMES[name];
    shown.disabled = on;
    shown.setAttribute("aria-busy", String(on));
  }
  document.addEventListener("click", function (event) {
    for (const name of Object.keys(NAMES)) if (event.target.closest("#save-" + name)) {
      busy(name, true);
      adafv.page.tell("saving");
    }
  });
  adafv.saved = function (name) {
    busy(name, false);
    const file = document.querySelector("#" + name + "-file a, a#" + name + "-file") || document.querySelector("#" + name + "-file");
    if (file) file.click();
  };
})();
