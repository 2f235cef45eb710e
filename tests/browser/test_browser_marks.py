"""Marks in a real browser: what the page draws as forced is what the answer was forced to keep, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from helpers.app_context import shared_context
from helpers.browser import settled
from helpers.opened_run import opened, saved_run
from helpers.shown import still_page
from playwright.sync_api import Page, expect

MARKED = "Array.from(adafv.page.forced || []).reduce((count, mark) => count + (mark !== 0), 0)"


def mark(page: Page) -> None:
    """Two patches that the example does not keep by itself."""
    page.get_by_role("button", name="Force keep").click()
    for x in (12, 40):
        page.locator("canvas[data-panel=kept]").click(position={"x": x, "y": 12})
    assert page.evaluate(MARKED) == 2


def ask(page: Page) -> None:
    page.get_by_role("button", name="Ask", exact=True).click()
    page.wait_for_timeout(300)
    settled(page)


def forced_in_the_answer(page: Page) -> list[int]:
    """The tokens that the page's saved run says were forced, where the answer in it was made with them."""
    with page.expect_download() as told:
        page.get_by_role("button", name="Save run").click()
    record = json.loads(Path(told.value.path()).read_text(encoding="utf-8"))
    assert record["answers"]["pruned"] is not None, "the answer was made with another selection"
    return list(record["force_keep"])


def test_marks_outlive_a_model_loaded_again_and_a_server_that_forgot(open_page: Callable[..., Page]) -> None:
    page = still_page(open_page)
    mark(page)
    ask(page)
    assert len(forced_in_the_answer(page)) == 2
    page.locator("#more .label-wrap").click()
    page.get_by_role("button", name="Load model").click()
    expect(page.locator("#view-notice .notice")).to_contain_text("answers from now on", timeout=30_000)
    settled(page, 10_000)
    ask(page)
    assert page.evaluate(MARKED) == 2 and len(forced_in_the_answer(page)) == 2
    sessions = shared_context().service.sessions
    for session_id in list(sessions._by_id):
        sessions.leave(session_id)
    ask(page)
    assert page.evaluate(MARKED) == 2 and len(forced_in_the_answer(page)) == 2


def test_marks_of_an_opened_run_of_another_model_go_with_it(open_page: Callable[..., Page], tmp_path: Path) -> None:
    file, _ = saved_run(tmp_path, model="somebody/else", marks=(3, 5))
    page = still_page(open_page)
    opened(page, file)
    assert page.evaluate(MARKED) == 2
    ask(page)
    assert page.evaluate(MARKED) == 0 and forced_in_the_answer(page) == []


def test_marks_of_an_opened_run_of_this_model_stay(open_page: Callable[..., Page], tmp_path: Path) -> None:
    file, _ = saved_run(tmp_path, marks=(3, 5))
    page = still_page(open_page)
    opened(page, file)
    ask(page)
    assert page.evaluate(MARKED) == 2 and forced_in_the_answer(page) == [3, 5]
