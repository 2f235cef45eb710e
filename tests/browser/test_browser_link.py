"""The view in the address: reload, Back, a copied link in another browser, and addresses that make no sense."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import pytest
from helpers.browser import settled
from playwright.sync_api import Page, expect

VIEW = """() => {
  const { page } = adafv;
  return { view: page.scores.view, kept: Array.from(page.result.kept).join(""), step: page.step, large: page.large,
    colors: page.colorMap, scale: page.scale };
}"""


def asked(page: Page, act: Callable[[], object]) -> None:
    """Do something that asks, and wait for its answers."""
    number = page.evaluate("adafv.page.number")
    act()
    page.wait_for_function(f"adafv.page.number > {number}", timeout=30_000)
    settled(page)


def varied(page: Page) -> dict[str, Any]:
    """Change whatever can be changed, ask, and give what is shown."""
    page.uncheck("#answer-while-sliding")
    asked(page, lambda: page.get_by_role("button", name="New scene").click())
    page.locator("#more .label-wrap").click()
    page.fill("#temperature input", "50")
    page.fill("#prompt textarea", "Is there a <b>ring</b> & a #star?")
    asked(page, lambda: page.press("#prompt textarea", "Enter"))
    page.get_by_role("button", name="Keep 25 %").click()
    page.get_by_label("Colors").select_option("viridis")
    page.get_by_label("Scale").select_option("rank")
    page.locator(".panels").press("2")
    page.wait_for_timeout(400)
    return dict(page.evaluate(VIEW))


def same_view(page: Page, before: dict[str, Any]) -> None:
    page.wait_for_function(
        f"JSON.stringify(adafv.page.scores.view) === {json.dumps(json.dumps(before['view']))} || "
        f"adafv.page.scores.view.prompt === {json.dumps(before['view']['prompt'])}",
        timeout=30_000,
    )
    settled(page)
    assert page.evaluate(VIEW) == before
    expect(page.locator("#prompt textarea")).to_have_value(before["view"]["prompt"])
    page.locator("#more .label-wrap").click()
    expect(page.locator("#temperature input")).to_have_value("50")


def test_a_reload_and_another_browser_show_the_same(open_page: Callable[..., Page]) -> None:
    page = open_page()
    before = varied(page)
    address = page.url
    assert before["view"]["temperature"] == 50 and before["view"]["scene"] >= 1000 and before["large"] == "saliency"
    page.reload()
    page.wait_for_function("window.adafv && adafv.page.scores")
    same_view(page, before)
    other = open_page(at=address)
    same_view(other, before)


def test_back_and_forward_go_between_questions(open_page: Callable[..., Page]) -> None:
    page = open_page()
    settled(page)
    first = page.evaluate(VIEW)
    asked(page, lambda: page.locator(".example").nth(2).click())
    second = page.evaluate(VIEW)
    assert first["view"] != second["view"]
    asked(page, lambda: page.locator("#scene-questions label").nth(1).click())
    asked(page, page.go_back)
    assert page.evaluate(VIEW) == second
    asked(page, page.go_forward)
    assert page.evaluate(VIEW)["view"]["scene"] == second["view"]["scene"]
    assert page.evaluate(VIEW)["view"]["prompt"] != second["view"]["prompt"]


def test_the_slider_and_the_tab_are_in_the_address(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.uncheck("#answer-while-sliding")
    page.get_by_role("button", name="Keep 5 %").click()
    page.get_by_role("tab", name="Study").click()
    page.wait_for_timeout(500)
    values = parse_qs(page.url.partition("#")[2])
    assert values["keep"] == ["0.05"] and values["tab"] == ["Study"]
    other, address = open_page(), page.url
    other.goto("about:blank")
    other.goto(address)
    other.wait_for_function("window.adafv && adafv.page.scores")
    expect(other.get_by_role("tab", name="Study")).to_have_attribute("aria-selected", "true")
    assert other.evaluate("adafv.page.result.size") == 10


def test_the_link_is_copied(open_page: Callable[..., Page]) -> None:
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == page.url and "#" in page.url


@pytest.mark.parametrize(
    "fragment",
    [
        "nonsense",
        "prompt=What%3F&scene=-4",
        "prompt=What%3F&scene=NaN&keep=7&temperature=abc&colorMap=__proto__&large=constructor&opacity=x",
        "prompt=%3Cimg%20src%3Dx%20onerror%3Dwindow.x%3D1%3E&method=nope",
        "prompt=" + "a" * 9000,
    ],
)
def test_an_address_that_makes_no_sense_leaves_a_page_that_works(open_page: Callable[..., Page], fragment: str) -> None:
    page = open_page()
    page = open_page(at=page.url.partition("#")[0] + "#" + fragment)
    page.wait_for_timeout(800)
    settled(page)
    assert page.evaluate("'x' in window") is False
    assert page.evaluate("adafv.page.result.size") > 0
    asked(page, lambda: page.locator(".example").nth(1).click())
    assert page.evaluate("adafv.page.scores.view.scene") == 10
