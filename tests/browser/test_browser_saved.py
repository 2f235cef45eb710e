"""Saved runs in a real browser: their settings come back, nothing asks by itself, and what is missing is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.browser import settled
from helpers.opened_run import opened, saved_run
from playwright.sync_api import Page, expect

from app.wire.parse import AskSettings
from app.wire.payload import OWN_RATIO_ONLY

KEPT = "Array.from(adafv.page.result.kept.keys()).filter((i) => adafv.page.result.kept[i])"


def asked(page: Page) -> list[str]:
    """Filled with each question that the page sends from now on."""
    found: list[str] = []
    page.on("request", lambda request: found.append(request.url) if "/queue/join" in request.url else None)
    return found


def test_an_opened_run_asks_again_as_it_was_asked(open_page: Callable[..., Page], tmp_path: Path) -> None:
    more = AskSettings(20.0, 0.4, "all", "original", 7, with_full=False)
    file, kept = saved_run(tmp_path, more=more, max_new_tokens=7)
    page = open_page()
    opened(page, file)
    page.locator("#more .label-wrap").click()
    expect(page.locator("#temperature input")).to_have_value("20")
    expect(page.locator("#max-new-tokens input")).to_have_value("7")
    expect(page.locator("#floor input[type=number]")).to_have_value("0.4")
    expect(page.locator("#text-tokens input:checked")).to_have_value("all")
    expect(page.locator("#positions input:checked")).to_have_value("original")
    assert not page.locator("#compare input").is_checked()
    key = page.evaluate("adafv.page.scores.key")
    assert page.evaluate(KEPT) == kept
    page.get_by_role("button", name="Ask", exact=True).click()
    page.wait_for_function(f"adafv.page.scores.key !== {json.dumps(key)}", timeout=30_000)
    assert page.evaluate(KEPT) == kept


def test_a_ratio_between_the_slider_s_steps_stays(open_page: Callable[..., Page], tmp_path: Path) -> None:
    file, kept = saved_run(tmp_path, ratio=0.555)
    page = open_page()
    opened(page, file)
    for _ in range(2):
        expect(page.locator(".keep-count")).to_have_text(f"{len(kept)} of 196 visual tokens")
        expect(page.locator(".answer-name").first).to_contain_text(f"{len(kept)} tokens")
        page.get_by_role("button", name="Ask", exact=True).click()
        page.wait_for_timeout(300)
        settled(page)


def test_sliding_on_an_opened_run_asks_nobody(open_page: Callable[..., Page], tmp_path: Path) -> None:
    file, _ = saved_run(tmp_path, model="somebody/else")
    page = open_page()
    opened(page, file)
    key, sent = page.evaluate("adafv.page.scores.key"), asked(page)
    page.get_by_role("button", name="Keep 5 %").click()
    page.wait_for_timeout(1_500)
    assert page.evaluate("[adafv.page.scores.key, adafv.page.result.size]") == [key, 10] and not sent
    page.press("#prompt textarea", "Enter")
    page.wait_for_function(f"adafv.page.scores.key !== {json.dumps(key)}", timeout=30_000)
    settled(page)
    with page.expect_request(lambda request: "/queue/join" in request.url):
        page.get_by_role("button", name="Keep 25 %").click()


@pytest.mark.parametrize("method", ["divprune", "fastv"])
def test_a_run_that_cannot_choose_again_says_so(open_page: Callable[..., Page], tmp_path: Path, method: str) -> None:
    file, kept = saved_run(tmp_path, method)
    page = open_page()
    opened(page, file)
    assert page.evaluate(KEPT) == kept
    page.get_by_role("button", name="Keep 5 %").click()
    expect(page.locator(".panel-problem")).to_have_text(OWN_RATIO_ONLY)
    assert page.evaluate(KEPT) == []
    page.get_by_role("button", name="Save run").click()
    expect(page.locator("#view-notice .notice")).to_contain_text(OWN_RATIO_ONLY, timeout=30_000)
    page.get_by_role("button", name="Keep 25 %").click()
    assert page.evaluate(KEPT) == kept
    with page.expect_download() as again:
        page.get_by_role("button", name="Save run").click()
    assert Path(again.value.path()).read_bytes() == file.read_bytes()


def test_saving_says_so_and_leaves_the_notice_alone(open_page: Callable[..., Page], tmp_path: Path) -> None:
    file, _ = saved_run(tmp_path)
    page = open_page()
    opened(page, file)
    said = page.inner_text("#view-notice .notice")
    page.evaluate(
        "window.seen = ''; const tools = document.querySelector('.save-tools');"
        "new MutationObserver(() => { window.seen += tools.innerText })"
        ".observe(tools, { childList: true, subtree: true })"
    )
    for name in ("Save PNG", "Save run"):
        with page.expect_download():
            page.get_by_role("button", name=name).click()
        expect(page.locator(".save-tools button", has_text=name)).to_be_enabled()
    assert "Saving…" in page.evaluate("window.seen")
    assert page.inner_text("#view-notice .notice") == said
