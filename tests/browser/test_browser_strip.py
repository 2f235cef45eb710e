"""The answer strip under the slider in a real browser: filled by itself, stopped, continued, and withheld."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from helpers.app_context import shared_context
from helpers.browser import settled
from helpers.shown import still_page
from PIL import Image
from playwright.sync_api import Page, expect

from adafv_core.methods import METHODS

HOLDS = re.compile(r"^The answer holds down to \d+ of 196 tokens, and it is right\.$")


def test_it_fills_by_itself_and_moves_the_slider(open_page: Callable[..., Page]) -> None:
    page = still_page(open_page)
    expect(page.locator(".answer-strip-sentence")).to_have_text(HOLDS, timeout=20_000)
    expect(page.locator(".answer-strip-count")).to_have_text(re.compile(r"^\d+ of 88 budgets measured$"))
    expect(page.locator(".answer-strip-button")).to_be_hidden()
    here = page.locator(".answer-strip-here")
    expect(here).to_have_text(re.compile("^At 20 tokens: “ring” · same answer · right · KL "))
    ratio = page.locator(".answers .costs tr", has_text="Time to first token").locator("td").last
    expect(ratio).to_have_text(re.compile(r"^≈ \d?\.?\d{1,2}×$|^≈ 0\.0?\d{1,2}×$"), timeout=20_000)
    expect(page.locator(".answers .costs td[title^='median of 5 runs in turns, ']")).to_have_count(4)
    lanes = page.locator(".answer-strip-lanes")
    expect(lanes).to_have_attribute("aria-label", HOLDS)
    box, slider = (page.locator(name).bounding_box() for name in (".answer-strip-lanes", "#keep-slider"))
    assert box and slider and abs(box["x"] - slider["x"] - 9) < 1, "the strip lies under the slider, on its scale"
    lanes.click(position={"x": box["width"] - 1, "y": 4})
    expect(page.locator(".keep-count")).to_have_text("196 of 196 visual tokens")
    expect(here).to_contain_text("At 196 tokens: “ring” · same answer")
    marker = page.locator(".answer-strip-marker").bounding_box()
    assert marker and abs(marker["x"] - box["x"] - box["width"]) < 2, "the marker stands where the slider does"


def test_what_changes_is_told_by_shape_and_not_measured_between_equals(open_page: Callable[..., Page]) -> None:
    page = still_page(open_page)
    page.locator("#method input").click()
    page.get_by_role("option", name=METHODS["random"].title).click()
    settled(page)
    expect(page.locator(".answer-strip-sentence")).to_have_text(HOLDS, timeout=20_000)
    heights = page.evaluate(
        "['.same-yes', '.same-no', '.correct-no'].map((one) => Array.from(document.querySelectorAll("
        "'.answer-strip-lanes ' + one)).map((bar) => bar.getAttribute('height')).join())"
    )
    assert set(heights[0].split(",")) == {"12"} and set(f"{heights[1]},{heights[2]}".split(",")) == {"4"}
    assert page.locator(".answer-strip-lanes .same-yes.between").count() > 20


def test_it_waits_behind_others_and_can_be_stopped_and_continued(open_page: Callable[..., Page]) -> None:
    page = still_page(open_page)
    expect(page.locator(".answer-strip-button")).to_be_hidden(timeout=20_000)
    button, sentence = page.locator(".answer-strip-button"), page.locator(".answer-strip-sentence")
    with shared_context().service.background.turn():
        page.get_by_role("button", name="New scene").click()
        settled(page)
        expect(button).to_have_text("Stop", timeout=10_000)
        button.click()
        expect(button).to_have_text("Measure")
    expect(sentence).to_have_text("How far down does the answer hold?")
    button.click()
    expect(sentence).to_have_text(re.compile(r"^The answer .+ of 196 tokens, and it is (right|wrong)\.$"))
    expect(button).to_be_hidden()


def test_no_verdict_on_a_picture_from_elsewhere(open_page: Callable[..., Page], tmp_path: Path) -> None:
    Image.effect_noise((300, 200), 90).convert("RGB").save(tmp_path / "noise.png")
    page = still_page(open_page)
    page.set_input_files("#question-image input[type=file]", tmp_path / "noise.png")
    page.wait_for_timeout(300)
    page.get_by_role("button", name="Ask", exact=True).click()
    settled(page)
    sentence = page.locator(".answer-strip-sentence")
    expect(sentence).to_have_text(re.compile("^No verdict on this picture"), timeout=10_000)
    expect(page.locator(".answer-strip-scale")).to_be_hidden()
