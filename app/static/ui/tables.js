/* Tables made of Markdown scroll where they are wider than the window: the keyboard has to reach them. */

const TABLES = "#study .prose table:not([tabindex])";

function reach() {
  for (const table of document.querySelectorAll(TABLES)) table.tabIndex = 0;
}
new MutationObserver(reach).observe(document.body, { subtree: true, childList: true });
reach();
