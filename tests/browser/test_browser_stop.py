"""Stop and waiting in a real browser, on a model that answers slowly: nothing that was stopped is answered."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.browser import settled
from helpers.slow_engine import TOKEN_S, TOKENS, slow_address, slow_engine
from playwright.sync_api import Page, expect


@pytest.fixture
def slow_page(open_page: Callable[..., Page]) -> Callable[[], Page]:
    """Opens the slow page, with nothing told yet."""

    def make() -> Page:
        page = open_page(at=slow_address())
        settled(page)
        slow_engine().told.clear()
        slow_engine().ended.clear()
        return page

    return make


def ask(page: Page) -> None:
    page.get_by_role("button", name="Ask", exact=True).click()


def stop(page: Page) -> None:
    page.locator("#stop-button").click()


def told() -> int:
    return sum(slow_engine().told.values())


def states(page: Page) -> list[str]:
    return [str(page.locator(".answer").nth(i).get_attribute("data-state")) for i in range(2)]


def test_stop_ends_a_running_answer_within_a_token(slow_page: Callable[[], Page]) -> None:
    page = slow_page()
    ask(page)
    expect(page.locator(".answer").first).to_have_attribute("data-state", "running", timeout=30_000)
    stop(page)
    stopped_at = told()
    settled(page, 10_000)
    assert states(page) == ["stopped", "stopped"]
    assert told() <= stopped_at + 3 < TOKENS and slow_engine().told.keys() == {"adafv"}
    expect(page.locator(".answer-state").first).to_have_text("stopped")


def test_stop_in_the_same_moment_as_ask(slow_page: Callable[[], Page]) -> None:
    page = slow_page()
    page.evaluate("() => ['#ask-button', '#stop-button'].forEach((name) => document.querySelector(name).click())")
    expect(page.locator(".answer").first).to_have_attribute("data-state", "stopped", timeout=10_000)
    time.sleep(5 * TOKEN_S)
    assert states(page) == ["stopped", "stopped"] and told() == 0


def test_a_question_that_waits_says_so_and_can_be_stopped(slow_page: Callable[[], Page]) -> None:
    first, second = slow_page(), slow_page()
    ask(first)
    expect(first.locator(".answer").first).to_have_attribute("data-state", "running", timeout=30_000)
    before = second.locator(".answer-text").first.inner_text()
    ask(second)
    expect(second.locator(".answers")).to_have_attribute("data-waiting", "")
    expect(second.locator(".answer-state").first).to_have_text("waiting")
    stop(second)
    expect(second.locator(".answer-state").first).to_have_text("stopped")
    expect(second.locator(".answers[data-waiting]")).to_have_count(0)
    stop(first)
    settled(first, 10_000)
    slow_engine().told.clear()
    expect(second.locator(".answer").first).to_have_attribute("data-state", "stopped", timeout=10_000)
    assert told() == 0 and before


def test_a_new_question_takes_the_place_of_one_that_waits(slow_page: Callable[[], Page]) -> None:
    page = slow_page()
    ask(page)
    expect(page.locator(".answer").first).to_have_attribute("data-state", "running", timeout=30_000)
    page.get_by_role("button", name="Keep 25 %").click()
    ask(page)
    expect(page.locator(".answer-name").first).to_contain_text("49 tokens", timeout=10_000)
    assert slow_engine().ended[0] < TOKENS
    stop(page)
    settled(page, 10_000)


def test_a_sweep_stops_before_it_begins_and_within_an_answer(slow_page: Callable[[], Page]) -> None:
    page = slow_page()
    page.get_by_role("tab", name="Sweep").click()
    page.wait_for_selector("#sweep-run")
    page.evaluate("() => ['#sweep-run', '#sweep-stop'].forEach((name) => document.querySelector(name).click())")
    line = page.locator("#view-progress")
    expect(line).to_contain_text("Stopped after 0 of 16 answers", timeout=10_000)
    assert told() == 0
    page.locator("#sweep-run").click()
    expect(line).to_contain_text("2 of 16 answers", timeout=60_000)
    page.locator("#sweep-stop").click()
    expect(line).to_contain_text("Stopped after 2 of 16 answers", timeout=10_000)
    expect(page.locator(".sweep-table td[data-same]")).to_have_count(1)
    expect(page.locator("#sweep-csv")).to_be_enabled()


def test_a_study_stops_before_it_begins(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.get_by_role("tab", name="Study").click()
    page.locator("#study-again > .label-wrap").click()
    page.wait_for_selector("#study-run")
    page.evaluate("() => ['#study-run', '#study-stop'].forEach((name) => document.querySelector(name).click())")
    expect(page.locator("#study-progress")).to_contain_text("Stopped after 0 of", timeout=20_000)


def test_a_sweep_goes_on_while_the_slider_moves(slow_page: Callable[[], Page]) -> None:
    page = slow_page()
    page.get_by_role("tab", name="Sweep").click()
    page.locator("#sweep-run").click()
    line = page.locator("#view-progress")
    expect(line).to_contain_text("0 of 16 answers", timeout=30_000)
    page.get_by_role("tab", name="Explore").click()
    page.press("#keep-slider", "ArrowRight")
    expect(page.locator(".answer").first).to_have_attribute("data-state", "running", timeout=30_000)
    stop(page)
    settled(page, 10_000)
    page.get_by_role("tab", name="Sweep").click()
    expect(line).to_contain_text("of 16 answers · about", timeout=30_000)
    page.locator("#sweep-stop").click()
    expect(line).to_contain_text("Stopped after", timeout=20_000)


def test_what_is_said_while_an_answer_comes_stays(slow_page: Callable[[], Page], tmp_path: Path) -> None:
    page = slow_page()
    ask(page)
    running = page.locator(".answer").first
    expect(running).to_have_attribute("data-state", "running", timeout=30_000)
    notice = page.locator("#view-notice .notice")
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    page.set_input_files("#save-row input[type=file]", tmp_path / "run.json")
    expect(notice).to_contain_text("is not a saved run", timeout=10_000)
    page.wait_for_timeout(10 * 1000 * TOKEN_S)
    expect(notice).to_contain_text("is not a saved run")
    assert "stopped" not in states(page)
    stop(page)
    settled(page, 10_000)


def test_a_sweep_of_another_visitor_does_not_hold_up_a_question(slow_page: Callable[[], Page]) -> None:
    first, second = slow_page(), slow_page()
    first.get_by_role("tab", name="Sweep").click()
    first.locator("#sweep-run").click()
    expect(first.locator("#view-progress")).to_contain_text("of 16 answers", timeout=30_000)
    ask(second)
    expect(second.locator(".answer").first).to_have_attribute("data-state", "running", timeout=30_000)
    assert "All 16" not in first.locator("#view-progress").inner_text()
    stop(second)
    first.locator("#sweep-stop").click()
    expect(first.locator("#view-progress")).to_contain_text("Stopped after", timeout=20_000)
    settled(second, 10_000)
