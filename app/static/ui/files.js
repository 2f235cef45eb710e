/* Files of Gradio's server, at addresses that are valid for the client.

   Gradio builds the address of a file from the host that the server saw. Behind a proxy that does not pass Host (or the
   scheme) on, only the proxy can open that address; relative to where the page was opened, the file is always found. */

const SERVED = "/gradio_api/file=";

const fromHere = (address) => new URL(address.slice(address.indexOf(SERVED) + 1), document.baseURI).href;
const isServed = (address) => address.includes(SERVED) && !address.startsWith("blob:");

function correctImages(root) {
  const images = root instanceof HTMLImageElement ? [root] : root.querySelectorAll?.("img") || [];
  for (const image of images) {
    if (isServed(image.src) && image.src !== fromHere(image.src)) image.src = fromHere(image.src);
  }
}

document.addEventListener(
  "click",
  (event) => {
    const link = event.target.closest("a[href]");
    if (link && isServed(link.href)) link.href = fromHere(link.href);
  },
  { capture: true },
);

/* Images load without a click; they are watched only where the server saw another address than the client. */
if (window.gradio_config && new URL(window.gradio_config.root, location.href).origin !== location.origin) {
  const watcher = new MutationObserver((changes) => {
    for (const change of changes) {
      if (change.type === "attributes") correctImages(change.target);
      else change.addedNodes.forEach(correctImages);
    }
  });
  watcher.observe(document.body, {
    subtree: true,
    childList: true,
    attributeFilter: ["src"],
  });
  correctImages(document.body);
}
