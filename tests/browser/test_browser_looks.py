"""How the page looks: widths, light and dark, contrast, keyboard, and the screenshots for the README.

`pytest tests/browser/test_browser_looks.py --screenshots FOLDER` writes the pictures there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import settled
from playwright.sync_api import Page, expect

from adafv_core.study.published import LLAVA_NEXT_7B

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


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_every_width_fits_and_reads(
    open_page: Callable[..., Page], keep_picture: Callable[[Page, str], None], size: tuple[int, int], scheme: str
) -> None:
    page = open_page(*size, scheme)
    settled(page)
    page.evaluate("document.fonts.ready.then(() => true)")
    page.wait_for_timeout(300)
    assert page.evaluate(IS_DARK) is (scheme == "dark")
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    box = page.locator("canvas[data-panel=kept]").bounding_box()
    assert box is not None and box["width"] >= 150 and abs(box["width"] - box["height"]) < 2
    assert page.evaluate(CONTRAST) == []
    keep_picture(page, f"explore-{size[0]}-{scheme}")


def short_answers(page: Page) -> None:
    """Ask for few tokens, so that a sweep is quick."""
    page.locator("#more .label-wrap").click()
    page.fill("#max-new-tokens input", "4")
    page.press("#max-new-tokens input", "Tab")


def looked_at(page: Page, keep_picture: Callable[[Page, str], None], name: str) -> None:
    """At every width: nothing beyond the edge, every text readable, a picture kept."""
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(400)
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, width
        assert page.evaluate(CONTRAST) == [], width
        keep_picture(page, f"{name}-{width}-{'dark' if page.evaluate(IS_DARK) else 'light'}")
    page.set_viewport_size({"width": SIZES[0][0], "height": SIZES[0][1]})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_other_tabs_read_too(
    open_page: Callable[..., Page], keep_picture: Callable[[Page, str], None], scheme: str
) -> None:
    page = open_page(scheme=scheme)
    short_answers(page)
    page.get_by_role("tab", name="About").click()
    last = page.locator("#about table tbody tr td:last-child")
    expect(last).to_have_count(len(LLAVA_NEXT_7B))
    named = {"full": "(full)", "AdaV": "(adafv)", "FasterVLM": "(saliency)", "FastV": "(fastv)", "SparseVLM": "–"}
    for row, ours in zip(LLAVA_NEXT_7B, last.all_inner_texts(), strict=True):
        assert ours.endswith(named[row.method])
    expect(page.locator(".steps figure")).to_have_count(6)
    assert page.locator("#about math").count() == 4
    looked_at(page, keep_picture, "about")
    page.get_by_role("tab", name="Sweep").click()
    looked_at(page, keep_picture, "sweep-before")
    for box in page.locator("#sweep-methods input").all():
        if box.is_checked():
            box.uncheck()
    page.get_by_label("adafv", exact=True).check()
    page.get_by_label("random", exact=True).check()
    page.get_by_role("button", name="Run sweep").click()
    expect(page.locator("#part-progress")).to_contain_text("All 7 answers are in", timeout=90_000)
    expect(page.locator(".sweep-table tbody tr")).to_have_count(2)
    expect(page.locator("#sweep-figures .js-plotly-plot")).to_have_count(2, timeout=30_000)
    expect(page.locator("#sweep-csv")).to_be_enabled()
    looked_at(page, keep_picture, "sweep")
    with page.expect_download() as table:
        page.locator("#sweep-csv").click()
    assert Path(table.value.path()).read_text(encoding="utf-8").startswith("method,keep_ratio")


def test_the_keyboard_alone_reaches_everything(open_page: Callable[..., Page]) -> None:
    page = open_page()
    settled(page)
    reached: set[str] = set()
    for _ in range(90):
        page.keyboard.press("Tab")
        reached.add(str(page.evaluate(
            "(() => { const e = document.activeElement;"
                    " return e.id || e.className || e.closest('[id]')?.id || e.tagName })()"
        )))  # fmt: skip
    wanted = ("keep-slider", "ask-button", "stop-button", "new-scene", "panels", "word", "chip", "example", "theme")
    assert [name for name in wanted if not any(name in one for one in reached)] == []
    outline = page.evaluate(
        "(() => { document.querySelector('.panels').focus({ focusVisible: true });"
        " return getComputedStyle(document.querySelector('.panels')).outlineStyle })()"
    )
    assert outline == "solid"


def test_motion_is_still_where_asked(open_page: Callable[..., Page]) -> None:
    page = open_page(reduced_motion="reduce")
    moving = page.evaluate(
        "Array.from(document.querySelectorAll('.gradio-container .contain *')).filter((e) => {"
        " const s = getComputedStyle(e); return s.animationName !== 'none' || parseFloat(s.transitionDuration) > 0.1;"
        " }).length"
    )
    assert moving == 0


def test_light_and_dark_switch_redraws_the_maps(open_page: Callable[..., Page]) -> None:
    page = open_page()
    before = page.evaluate("document.querySelector('canvas[data-panel=kept]').toDataURL()")
    page.locator(".theme-toggle").click()
    page.wait_for_timeout(200)
    assert page.evaluate("document.querySelector('canvas[data-panel=kept]').toDataURL()") != before
