"""The keep-ratio control: its chips, its counts, and budgets that the marks do not allow."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from helpers.sent_payload import made_scores
from helpers.shown import LLAVA_NEXT, pixels, still_page
from playwright.sync_api import Page, expect

TOO_MANY = "14 tokens are forced, the budget holds 10: keep more, or clear some marks."
MARK = "(marks) => { adafv.page.forced = Int8Array.from(marks); adafv.page.choose(); adafv.page.notify('forced'); }"
CLIPPED = """() => Array.from(document.querySelectorAll('.keep-head > *')).filter((part) => {
  const box = part.getBoundingClientRect(), head = part.parentElement.getBoundingClientRect();
  return part.scrollWidth > Math.ceil(box.width) || box.left < head.left - 1 || box.right > head.right + 1
    || box.bottom > head.bottom + 1;
}).map((part) => part.textContent)"""


def test_every_chip_sets_its_ratio(open_page: Callable[..., Page]) -> None:
    page = still_page(open_page)
    seen = set()
    for percent, budget in ((25, 49), (10, 20), (5, 10)):
        page.get_by_role("button", name=f"Keep {percent} %").click()
        expect(page.locator(".keep-count")).to_have_text(f"{budget} of 196 visual tokens")
        expect(page.locator(".chip[aria-pressed=true]")).to_have_text(f"Keep {percent} %")
        seen.add(pixels(page, "kept"))
    assert len(seen) == 3


@pytest.mark.parametrize(("ratio", "said"), [(0.125, "12.5 %"), (0.025, "2.5 %"), (0.25, "25 %")])
def test_the_ratio_is_read_out_as_it_is(open_page: Callable[..., Page], ratio: float, said: str) -> None:
    page = still_page(open_page)
    page.evaluate(f"adafv.page.moveTo(adafv.page.nearest(adafv.page.scores.steps, {ratio}))")
    text = page.get_attribute("#keep-slider", "aria-valuetext")
    assert text is not None and text.startswith(f"{said} kept, ")


@pytest.mark.parametrize("width", [1440, 1024, 390, 320])
def test_the_count_fits(open_page: Callable[..., Page], width: int) -> None:
    page = still_page(open_page, made_scores(1, LLAVA_NEXT, ties=False), width=width, height=800)
    for ratio in (0.01, 0.1, 0.4, 1):
        page.evaluate(f"adafv.page.moveTo(adafv.page.nearest(adafv.page.scores.steps, {ratio}))")
        assert page.evaluate(CLIPPED) == []
    page.evaluate("adafv.page.moveTo(adafv.page.nearest(adafv.page.scores.steps, 0.4))")
    page.evaluate(MARK, [1] * 2880)
    assert page.evaluate(CLIPPED) == []


@pytest.mark.parametrize("width", [1440, 390])
def test_more_marks_than_the_budget_holds(open_page: Callable[..., Page], width: int) -> None:
    page = still_page(open_page, width=width, height=900)
    page.evaluate(MARK, [1] * 14 + [0] * 182)
    before = pixels(page, "kept")
    page.get_by_role("button", name="Keep 5 %").click()
    expect(page.locator(".panel-problem")).to_have_text(TOO_MANY)
    expect(page.locator(".split-note")).to_have_text(TOO_MANY)
    expect(page.locator("#live-summary")).to_have_text(TOO_MANY)
    expect(page.locator("#keep-slider")).to_have_attribute("aria-valuetext", f"5 %: {TOO_MANY}")
    told = page.locator(".panel-problem")
    assert told.evaluate("(told) => told.scrollWidth <= told.clientWidth && told.scrollHeight <= told.clientHeight")
    expect(page.locator(".keep-count")).to_have_text("budget 10 of 196 visual tokens")
    expect(page.locator(".panel-kept .panel-note")).to_have_text("nothing kept")
    assert pixels(page, "kept") != before
    page.evaluate("adafv.page.forced.fill(0)")
    page.evaluate("adafv.page.notify('budget')")
    bare = pixels(page, "kept")
    page.evaluate("document.querySelectorAll('*').forEach((one) => one.style.setProperty('--stage-line', 'red'))")
    page.evaluate("adafv.page.notify('look')")
    assert pixels(page, "kept") == bare, "an outline of kept patches is still painted"
    page.get_by_role("button", name="Keep 10 %").click()
    expect(page.locator(".panel-problem")).to_be_hidden()
    expect(page.locator(".panel-kept .panel-note")).to_have_text("20 of 196")


def test_the_sentence_of_a_refused_picture_goes_once_one_is_saved(open_page: Callable[..., Page]) -> None:
    page = still_page(open_page)
    page.evaluate(MARK, [1] * 14 + [0] * 182)
    page.get_by_role("button", name="Keep 5 %").click()
    page.get_by_role("button", name="Save PNG").click()
    told = page.locator("#view-notice .notice")
    expect(told).to_contain_text("14 visual tokens are forced to stay", timeout=30_000)
    page.get_by_role("button", name="Clear marks").click()
    with page.expect_download():
        page.get_by_role("button", name="Save PNG").click()
    expect(told).to_be_hidden()


def test_a_refused_budget_is_not_asked_for_by_sliding(open_page: Callable[..., Page]) -> None:
    page = still_page(open_page)
    measured = page.locator(".answers .costs td.ratio", has_text="≈")
    expect(measured).to_have_count(2, timeout=20_000)  # what the page asks for by itself has come
    page.evaluate(MARK, [1] * 14 + [0] * 182)
    page.check("#answer-while-sliding")
    page.wait_for_timeout(300)
    page.get_by_role("button", name="Keep 5 %").click()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(1_500)
    assert asked == []
