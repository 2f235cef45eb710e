"""Several pictures of one question on the page: each keeps what the library keeps, and they are added, shown, saved."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.app_context import question, scene_path, shared_context
from helpers.opened_run import opened
from playwright.sync_api import Page, expect

from adafv_core.engine.request import Request
from adafv_core.engine.several_images import dealt, joined_scores
from adafv_core.images import read_picture
from app.serving.page_stream import page_stream
from app.serving.sessions import Session
from app.wire.parse import AskSettings

SCENES = (3, 11)
AT_EVERY_STEP = """(text) => {
  const images = adafv.core.unpackImages(JSON.parse(text));
  return images[0].steps.map((step, i) => adafv.core.selectImages(images, i, null).map((one) => ({
    why: Array.from(one.why), mixed: Array.from(one.mixed), size: one.size, kText: one.kText,
  })));
}"""
FIRST_KEPT = """(text) => adafv.core.unpackImages(JSON.parse(text)).map((one) =>
  Array.from(one.t2i, (_, token) => adafv.core.firstKept(one, token)))"""
SIZES = "() => adafv.page.results.map((one) => one.size)"


@pytest.fixture(scope="module")
def page(browser: Any, address: str) -> Any:
    made = browser.new_page()
    made.goto(address)
    made.wait_for_function("window.adafv && adafv.core")
    yield made
    made.close()


@pytest.mark.parametrize("share", ["image", "all"])
@pytest.mark.parametrize("method", ["adafv", "saliency", "divprune"])
def test_the_browser_keeps_of_every_picture_what_the_library_keeps(page: Page, method: str, share: str) -> None:
    session = Session("pocket")
    settings = AskSettings(max_new_tokens=1, with_full=False, share=share)
    asked = question(method=method, more=settings, index=SCENES[0])
    asked = replace(asked, more=(read_picture(scene_path(SCENES[1])),))
    text = next(iter(page_stream(shared_context().service, session, asked))).payload
    assert text is not None and session.scores is not None
    scores = [session.scores, *session.more_scores]
    together = joined_scores(scores)
    steps = json.loads(text)["steps"]
    chosen = page.evaluate(AT_EVERY_STEP, text)
    first = torch.tensor(page.evaluate(FIRST_KEPT, text))
    for at in range(0, len(steps), 7):
        request = Request(method, keep_ratio=steps[at]["ratio"], share=share)
        if share == "all":
            wanted = dealt(request.select(together), [one.visual for one in scores])
        else:
            wanted = [request.select(one) for one in scores]
        for picture, (mine, its) in enumerate(zip(chosen[at], wanted, strict=True)):
            assert mine["why"] == its.why.tolist() and mine["size"] == its.size
            assert torch.equal(torch.tensor(mine["mixed"]), its.mixed) and mine["kText"] == its.k_text
            assert bool((first[picture][its.kept] <= at).all()) or method != "saliency"


def asked(page: Page, act: Callable[[], None]) -> None:
    """Act, and wait until the page has the answers to what that asked."""
    before = page.evaluate("adafv.page.number")
    act()
    page.wait_for_function(f"adafv.page.number > {before} && !adafv.page.waiting", timeout=60_000)
    expect(page.locator(".answers .answer-text").first).not_to_be_empty()


def test_pictures_are_added_shown_saved_linked_and_taken_away(
    open_page: Callable[..., Page], tmp_path: Path, keep_picture: Callable[[Page, str], None]
) -> None:
    page = open_page()
    expect(page.locator("#share")).to_be_hidden()
    page.set_input_files("#more-images input[type=file]", [scene_path(10), scene_path(19)])
    expect(page.locator(".more-picture")).to_have_count(2, timeout=20_000)
    expect(page.locator(".stale-line")).to_contain_text("The picture changed since")
    asked(page, lambda: page.locator("#ask-button").click())
    cells = page.locator(".strip-cell")
    expect(cells).to_have_count(3)
    expect(page.locator(".keep-count")).to_have_text("60 of 588 visual tokens in 3 pictures")
    expect(page.locator("#view-notice .notice")).to_contain_text("trained on questions about one picture")
    expect(page.get_by_role("button", name="Force keep")).to_be_disabled()
    keep_picture(page, "several")

    first = page.evaluate("adafv.page.scores.t2i[5]")
    cells.nth(1).click()
    expect(cells.nth(1)).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("adafv.page.scores.t2i[5]") != first
    page.uncheck("#answer-while-sliding")
    page.get_by_role("button", name="Keep 25 %").click()
    assert page.evaluate(SIZES) == [49, 49, 49]
    expect(cells.nth(2)).to_have_text("Picture 3: 49 of 196 kept")

    expect(page.locator("#share")).to_be_visible()
    page.get_by_label("all together").check()
    asked(page, lambda: page.locator("#ask-button").click())
    sizes = page.evaluate(SIZES)
    assert sum(sizes) == 147 and len(set(sizes)) > 1
    page.wait_for_function("location.hash.includes('more_scenes=10%2C19') && location.hash.includes('share=all')")

    with page.expect_download() as download:
        page.locator(".save-tools").get_by_role("button", name="Save run").click()
    run = tmp_path / "run.json"
    download.value.save_as(run)
    other = open_page(at=page.url)
    other.wait_for_function("adafv.page.images.length === 3 && !adafv.page.waiting", timeout=60_000)
    assert other.evaluate(SIZES) == sizes
    expect(other.locator(".more-picture")).to_have_count(2)

    page.locator(".more-picture button").first.click()
    expect(page.locator(".more-picture")).to_have_count(1)
    page.locator(".example").nth(2).click()
    expect(page.locator(".more-picture")).to_have_count(0)
    expect(cells).to_have_count(0, timeout=30_000)
    expect(page.locator("#share")).to_be_hidden()
    opened(page, run)
    expect(cells).to_have_count(3)
    expect(page.locator(".more-picture")).to_have_count(2, timeout=20_000)
    assert page.evaluate(SIZES) == sizes and page.evaluate("adafv.page.scores.from_file")


def test_two_dropped_pictures_are_two(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.evaluate(
        """async () => {
          const canvas = Object.assign(document.createElement("canvas"), { width: 40, height: 40 });
          const transfer = new DataTransfer();
          for (const color of ["red", "blue"]) {
            canvas.getContext("2d").fillStyle = color;
            canvas.getContext("2d").fillRect(0, 0, 40, 40);
            const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
            transfer.items.add(new File([blob], color + ".png", { type: "image/png" }));
          }
          const drop = { dataTransfer: transfer, bubbles: true, cancelable: true };
          document.body.dispatchEvent(new DragEvent("drop", drop));
        }"""
    )
    expect(page.locator(".more-picture")).to_have_count(1, timeout=20_000)
    expect(page.locator("#view-notice .notice")).to_contain_text("A new picture", timeout=20_000)
    asked(page, lambda: page.locator("#ask-button").click())
    page.wait_for_function("adafv.page.images.length === 2")
    expect(page.locator("#view-notice .notice")).to_contain_text(re.compile("knows drawn scenes only"))
