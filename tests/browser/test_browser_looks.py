"""How the page looks: widths, light and dark, contrast, keyboard, and the screenshots for the README.

`pytest tests/browser/test_browser_looks.py --screenshots FOLDER` writes the pictures there.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.app_context import many_crops_address
from helpers.browser import settled
from helpers.screenshots import CONTRAST, IS_DARK, SIZES, looked_at
from PIL import Image
from playwright.sync_api import Page, expect

from adafv_core.bundled import ROOT
from adafv_core.methods import METHODS
from adafv_core.study.report.published import LLAVA_NEXT_7B


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_other_tabs_read_too(
    open_page: Callable[..., Page], keep_picture: Callable[[Page, str], None], scheme: str
) -> None:
    page = open_page(scheme=scheme)
    short_answers(page)
    page.get_by_role("tab", name="About").click()
    last = page.locator("#about table tbody tr td:last-child")
    expect(last).to_have_count(len(LLAVA_NEXT_7B))
    named = {
        "full": "(All tokens)",
        "AdaV": "(AdaFV)",
        "FasterVLM": "(Saliency)",
        "FastV": "(FastV)",
        "SparseVLM": "(SparseVLM)",
    }
    for row, ours in zip(LLAVA_NEXT_7B, last.all_inner_texts(), strict=True):
        assert ours.endswith(named[row.method])
    expect(page.locator(".steps figure")).to_have_count(6)
    assert page.locator("#about math").count() == 4
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    entry = readme.partition("```bibtex\n")[2].partition("```")[0].strip()
    expect(page.locator("#about .bibtex pre")).to_have_text(entry)
    assert page.locator("#about a[href='https://arxiv.org/abs/2501.09532']").count() == 1
    copied = "{value: {writeText: async (text) => (window.copied = text)}}"
    page.evaluate(f"Object.defineProperty(navigator, 'clipboard', {copied})")
    page.get_by_role("button", name="Copy BibTeX").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("window.copied").startswith("@article{han2025adafv")
    looked_at(page, keep_picture, "about")
    page.get_by_role("tab", name="Sweep").click()
    looked_at(page, keep_picture, "sweep-before")
    for box in page.locator("#sweep-methods input").all():
        if box.is_checked():
            box.uncheck()
    page.get_by_label("AdaFV", exact=True).check()
    page.get_by_label("Random", exact=True).check()
    page.get_by_role("button", name="Run sweep").click()
    expect(page.locator("#view-progress")).to_contain_text("All 7 answers are in", timeout=90_000)
    expect(page.locator(".sweep-table tbody tr")).to_have_count(2)
    expect(page.locator("#sweep-figures .js-plotly-plot")).to_have_count(2, timeout=30_000)
    expect(page.locator("#sweep-csv")).to_be_enabled()
    looked_at(page, keep_picture, "sweep")
    with page.expect_download() as table:
        page.locator("#sweep-csv").click()
    assert Path(table.value.path()).read_text(encoding="utf-8").startswith("method,keep_ratio")


@pytest.mark.parametrize("length", ["short", "long"])
def test_the_sweep_s_table_reads_on_a_phone(
    open_page: Callable[..., Page], keep_picture: Callable[[Page, str], None], length: str
) -> None:
    answer = {"short": "red", "long": " ".join(["The largest object in the picture is a yellow cylinder."] * 4)}[length]
    one = {"answer": answer, "same": False, "kl_nats": 0.0123, "n_visual": 196, "n_kept": 20, "error": ""}
    rows = [{**one, "method": method, "keep_ratio": ratio} for method in METHODS for ratio in (0.25, 0.1, 0.05)]
    rows[-1] = {**rows[-1], "error": answer}
    page = open_page(390, 844)
    page.get_by_role("tab", name="Sweep").click()
    shape = page.evaluate(
        """(sent) => {
          const place = document.querySelector("#view-sweeptable"), value = JSON.stringify({ prompt: "?", ...sent });
          adafv.mount("sweeptable", place, null, { value: value }, () => {});
          const cells = Array.from(place.querySelectorAll("tbody td"), (cell) => cell.clientWidth);
          const scroll = place.querySelector(".sweep-scroll");
          return { narrowest: Math.min(...cells), height: scroll.clientHeight,
            sideways: scroll.scrollWidth > scroll.clientWidth,
            page: document.documentElement.scrollWidth - innerWidth };
        }""",
        {"rows": rows, "titles": {name: method.title for name, method in METHODS.items()}},
    )
    keep_picture(page, f"sweep-{length}-390")
    assert shape["page"] <= 0
    if length == "long":
        assert shape["narrowest"] >= 180 and shape["sideways"] and shape["height"] < 78 * len(rows)
    else:
        assert not shape["sideways"]


LINES = """() => Array.from(document.querySelectorAll(".answers .costs td:not(:empty)"), (cell) => {
  const range = document.createRange();
  range.selectNodeContents(cell);
  return [cell.textContent, range.getClientRects().length];
}).filter((found) => found[1] > 1)"""
OVER = """(() => {
  const table = document.querySelector(".answers .costs");
  return table.offsetWidth - table.parentElement.clientWidth;
})()"""


def test_costs_of_several_crops_stand_on_one_line_each(open_page: Callable[..., Page]) -> None:
    page = open_page(1440, 768, at=many_crops_address())
    settled(page)
    expect(page.locator(".answers .costs")).to_contain_text("80 + 8 newline")
    for width in (1440, 1024, 900, 780, 390):
        page.set_viewport_size({"width": width, "height": 768})
        assert page.evaluate(LINES) == [] and page.evaluate(OVER) <= 0, width


SET_FLOOR = """() => {
  const [number, slider] = ["number", "range"].map((type) => document.querySelector(`#floor input[type=${type}]`));
  if (!slider) return false;
  slider.value = 0.25;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
  return number.value === "0.25";
}"""


def colors_across(page: Page, slider: str) -> np.ndarray:
    """(height, width, 3): a slider as it is painted."""
    return np.asarray(Image.open(io.BytesIO(page.locator(slider).screenshot())).convert("RGB")).astype(int)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_floor_s_slider_looks_as_the_keep_slider_does(open_page: Callable[..., Page], scheme: str) -> None:
    page = open_page(scheme=scheme)
    settled(page)
    page.locator("#more .label-wrap").click()
    floor = "#floor input[type=range]"
    page.wait_for_timeout(500)
    page.wait_for_function(SET_FLOOR)
    page.evaluate("adafv.page.moveTo(Math.round((adafv.page.scores.steps.length - 1) / 2))")
    page.wait_for_timeout(300)
    drawn = {slider: colors_across(page, slider) for slider in (floor, "#keep-slider")}
    seen = []
    for colors in drawn.values():
        height, width = colors.shape[:2]
        thumb = colors[:, width // 2 - 12 : width // 2 + 12].reshape(-1, 3)
        filled, rest = colors[height // 2, width // 4], colors[height // 2, 3 * width // 4]
        seen.append((filled.tolist(), rest.tolist()))
        ring = (np.abs(thumb - filled).max(axis=1) < 8).sum()
        assert ring > 80, "the thumb has a ring of the accent's color"
        assert np.abs(rest - colors[1, 3 * width // 4]).max() > 50, "the unfilled track stands out from the ground"
    assert seen[0] == seen[1]


def test_the_keyboard_alone_reaches_everything(open_page: Callable[..., Page]) -> None:
    page = open_page()
    settled(page)
    reached: set[str] = set()
    for _ in range(90):
        page.keyboard.press("Tab")
        reached.add(
            str(
                page.evaluate(
                    "(() => { const e = document.activeElement;"
                    " return e.id || e.className || e.closest('[id]')?.id || e.tagName })()"
                )
            )
        )
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
