"""A real browser on the running page. Any request that leaves loopback, and any script error, fails the test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse

import pytest
from helpers.app_context import shared_address
from helpers.browser import ARGUMENTS, chromium
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

POLICY = "Content Security Policy"
"""In what the browser's console says of anything that the page's own policy forbids."""
LOCAL = ("127.0.0.1", "localhost", "::1", "[::1]")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--screenshots", default=os.environ.get("ADAFV_SCREENSHOTS", ""), help="folder for screenshots")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in Path(str(item.path)).parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One for all tests."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        yield started
        started.close()


@pytest.fixture(scope="session")
def address() -> str:
    return shared_address()


@pytest.fixture(scope="session")
def warm_context(browser: Browser) -> Iterator[BrowserContext]:
    """A context whose cache has the scripts already: opening a page there takes half the time."""
    context = browser.new_context(accept_downloads=True)
    yield context
    context.close()


def page_in_empty(context: BrowserContext, origin: str) -> Page:
    """A page of a context in which nothing is stored any more, as in a new one, but for its cache."""
    context.clear_cookies()
    page = context.new_page()
    stored = {"origin": origin, "storageTypes": "local_storage,indexeddb,websql,service_workers,cache_storage"}
    context.new_cdp_session(page).send("Storage.clearDataForOrigin", stored)
    return page


@pytest.fixture
def open_page(
    browser: Browser, warm_context: BrowserContext, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Page]]:
    """Opens the page; at the end nothing may have left loopback, failed in a script, or been against the
    page's Content-Security-Policy.

    The first page of a test is in the warm context, emptied; every other, and one with options, in a fresh context, as
    in another browser.
    """
    opened: list[Page | BrowserContext] = []
    wrong: list[str] = []

    def watch(page: Page) -> None:
        page.on("request", lambda request: wrong.append(f"left: {request.url}") if outside(request.url) else None)
        page.on("pageerror", lambda error: wrong.append(f"script error: {error}"))

    def make(
        width: int = 1440, height: int = 900, scheme: Literal["light", "dark"] = "light", at: str = "", **options: Any
    ) -> Page:
        address = at or request.getfixturevalue("address")
        if opened or options:
            context = browser.new_context(accept_downloads=True, **options)
            opened.append(context)
            page = context.new_page()
        else:
            parts = urlparse(address)
            page = page_in_empty(warm_context, f"{parts.scheme}://{parts.netloc}")
            opened.append(page)
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        watch(page)
        if not at:  # behind a proxy that hides Host, Gradio's first addresses name the server, and are rightly blocked
            page.on("console", lambda line: wrong.append(line.text) if POLICY in line.text else None)
        page.goto(address)
        page.wait_for_function("window.adafv && adafv.page && adafv.page.scores && document.querySelector('.panels')")
        page.wait_for_selector("#prompt textarea")
        return page

    yield make
    for one in opened:
        one.close()
    assert not wrong, wrong


@pytest.fixture
def keep_picture(pytestconfig: pytest.Config) -> Callable[[Page, str], None]:
    """Write a screenshot where --screenshots asks for them."""
    folder = pytestconfig.getoption("--screenshots")

    def keep(page: Page, name: str) -> None:
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)

    return keep


def outside(url: str) -> bool:
    """Whether a request goes anywhere but this machine."""
    parts = urlparse(url)
    return parts.scheme not in ("data", "blob", "about") and (parts.hostname or "") not in LOCAL
