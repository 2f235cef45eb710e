"""The causal map in a real browser: drawn as the library has it, linked with the pointer, dimmed once outdated."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from helpers.app_context import scene_path, shared_context
from helpers.browser import settled
from helpers.npm_packages import LINT, npm_program
from helpers.shown import still_page
from PIL import Image
from playwright.sync_api import Page, expect

from adafv_core.methods import METHODS
from adafv_core.study.measure.causal_map import causal_map
from app.wire.look import COLOR_MAPS

EXAMPLE, SCENE = 1, 10
QUESTION = "What is the location of the square?"
COLOR = """([row, col]) => {
  const canvas = document.querySelector("canvas[data-map=causal]");
  const at = [col, row].map((place, axis) => Math.round(((place + 0.5) / 14) * [canvas.width, canvas.height][axis]));
  return Array.from(canvas.getContext("2d").getImageData(...at, 1, 1).data).slice(0, 3);
}"""


def ask_about_the_square(page: Page) -> None:
    page.locator(".example").nth(EXAMPLE).click()
    settled(page)
    page.fill("#prompt textarea", QUESTION)
    page.press("#prompt textarea", "Enter")
    page.wait_for_function(f"adafv.page.scores.view.prompt === {QUESTION!r}")
    settled(page)


def measured(page: Page) -> None:
    page.locator(".causal button").click()
    page.wait_for_function("adafv.page.causal && (adafv.page.causal.complete || adafv.page.causal.note)")


def test_what_is_drawn_is_the_library_s_and_follows_the_pointer_and_the_slider(open_page: Callable[..., Page]) -> None:
    engine = shared_context().service.pool.engine("pocket")
    scores = engine.score(Image.open(scene_path(SCENE)).convert("RGB"), QUESTION)
    *_, found = causal_map(engine, [scores], [engine.select(scores, 0.1)])
    page, other = still_page(open_page), still_page(open_page)
    for one in (page, other):
        ask_about_the_square(one)
    page.get_by_label("Image", exact=True).last.uncheck()
    page.get_by_label("Scale").select_option("linear")
    measured(page)
    sentence = page.locator(".causal .measure-sentence")
    expect(sentence).to_have_text("3 of the 20 kept patches change the answer when left out alone.")
    assert other.evaluate("adafv.page.causal.removals") is None, "another session measures for itself"
    drawn = page.evaluate("adafv.page.causal.removals")
    assert [tuple(one["tokens"]) for one in drawn] == [one.tokens for one in found.removals]
    assert [one["kl_nats"] for one in drawn] == pytest.approx([one.kl_nats for one in found.removals], abs=1e-4)
    highest = max(0.1, *(one.kl_nats for one in found.removals))
    plain = [one for one in found.removals if one.same]  # a cross is drawn over the others
    for one in (max(plain, key=lambda each: each.kl_nats), min(plain, key=lambda each: each.kl_nats)):
        wanted = COLOR_MAPS["cividis"][round(255 * one.kl_nats / highest)]
        seen = page.evaluate(COLOR, list(divmod(one.tokens[0], 14)))
        assert max(abs(int(a) - int(b)) for a, b in zip(wanted, seen, strict=True)) <= 4
    dropped = next(token for token in range(196) if token not in {one["tokens"][0] for one in drawn})
    ground = page.evaluate("getComputedStyle(document.querySelector('.causal')).getPropertyValue('--stage-ground')")
    seen = page.evaluate(COLOR, list(divmod(dropped, 14)))
    assert "#" + "".join(f"{part:02x}" for part in seen) == ground.strip()

    canvas = page.locator("canvas[data-map=causal]")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box
    changing = next(one for one in found.removals if not one.same)
    row, col = divmod(changing.tokens[0], 14)
    canvas.hover(position={"x": (col + 0.5) * box["width"] / 14, "y": (row + 0.5) * box["height"] / 14})
    expect(page.locator(".causal .measure-here")).to_contain_text(
        f"Without token {changing.tokens[0]}: “{changing.answer}”, KL"
    )
    assert page.evaluate("adafv.page.pointed") == [changing.tokens[0]], "one pointer for all maps"
    expect(page.locator(".values dt", has_text="Without it")).to_have_count(1)

    page.get_by_label("Leave out").select_option("2")
    measured(page)
    expect(sentence).to_have_text(re.compile(r"of the \d+ blocks of 2 × 2 patches change"))
    page.get_by_role("button", name="Keep 5 %").click()
    expect(sentence).to_have_text("Measured for 20 other kept tokens: measure again.")
    expect(page.locator(".causal")).to_have_attribute("data-outdated", "")
    expect(page.locator(".causal .measure-here")).to_have_text("")
    page.get_by_role("button", name="Keep 10 %").click()
    expect(sentence).to_contain_text("blocks of 2 × 2 patches")


def test_it_waits_behind_others_is_stopped_and_says_what_it_cannot_do(open_page: Callable[..., Page]) -> None:
    npm_program()
    page = still_page(open_page, width=390)
    settled(page)
    button, sentence = page.locator(".causal button"), page.locator(".causal .measure-sentence")
    expect(sentence).to_have_text(re.compile("^Selection is not an explanation"))
    expect(page.locator(".answer-strip-button")).to_be_hidden(timeout=20_000)
    with shared_context().service.background.turn():
        button.focus()
        page.keyboard.press("Enter")
        expect(button).to_have_text("Stop")
        expect(sentence).to_have_text("Leaving patches out…")
        button.click()
        expect(button).to_have_text("Measure")
    measured(page)
    expect(sentence).to_have_text("None of the 20 kept patches changes the answer when left out alone.")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.add_script_tag(path=LINT / "node_modules" / "axe-core" / "axe.min.js")
    for _ in range(2):
        found = page.evaluate("async () => (await axe.run('#explore-measures')).violations.map((one) => one.id)")
        assert found == []
        page.locator(".theme-toggle").click()
    page.locator("#method input").click()
    page.get_by_role("option", name=METHODS["fastv"].title).click()
    settled(page)
    measured(page)
    expect(sentence).to_have_text(re.compile("^FastV prunes inside the LLM"))
