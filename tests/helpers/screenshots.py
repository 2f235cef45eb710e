"""Sizes the page is looked at, and pictures taken of it."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page

SIZES = ((1440, 900), (1024, 768), (390, 844))


IS_DARK = "document.body.classList.contains('dark')"


CONTRAST = """() => {
  const parse = (text) => { const m = text.match(/[\\d.]+/g).map(Number);
    return [m[0], m[1], m[2], m.length > 3 ? m[3] : 1]; };
  const over = (top, under) => top.slice(0, 3).map((c, i) => c * top[3] + under[i] * (1 - top[3]));
  const linear = (c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const light = (rgb) => { const f = rgb.map((c) => linear(c / 255));
    return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2]; };
  const ground = (element) => { const layers = [];
    for (let e = element; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c[3] > 0) layers.push(c);
      if (c[3] === 1) break;
    }
    let rgb = document.body.classList.contains('dark') ? [20, 23, 27] : [255, 255, 255];
    for (const layer of layers.reverse()) rgb = over(layer, rgb); return rgb; };
  const found = [];
  const walker = document.createTreeWalker(document.querySelector('.gradio-container'), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim();
    const seen = element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
    if (!text || !seen || element.closest('.sr-only, svg, math, footer, option, [disabled], script, style')) continue;
    const style = getComputedStyle(element), back = ground(element), front = over(parse(style.color), back);
    const pair = [light(front), light(back)].sort((a, b) => b - a), ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (ratio < 4.5) found.push(text.slice(0, 30) + ' ' + ratio.toFixed(2));
  }
  return Array.from(new Set(found));
}"""


def looked_at(page: Page, keep_picture: Callable[[Page, str], None], name: str) -> None:
    """At every width: nothing beyond the edge, every text readable, a picture kept."""
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(400)
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, width
        assert page.evaluate(CONTRAST) == [], width
        keep_picture(page, f"{name}-{width}-{'dark' if page.evaluate(IS_DARK) else 'light'}")
    page.set_viewport_size({"width": SIZES[0][0], "height": SIZES[0][1]})
