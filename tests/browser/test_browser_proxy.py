"""Behind a proxy, whether or not it passes Host on: images show, questions are answered and every file is saved."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.app_context import free_port, serve, shared_context
from helpers.browser import settled
from helpers.plain_proxy import plain_proxy
from playwright.sync_api import Page, expect

IMAGES = "Array.from(document.querySelectorAll('img'), (image) => image.src)"
SHOWN = "document.querySelector('#question-image img').naturalWidth > 0"


def saved(page: Page, button: str) -> bytes:
    """What the browser downloads on a click."""
    with page.expect_download(timeout=60_000) as download:
        page.get_by_role("button", name=button, exact=True).click()
    return Path(download.value.path()).read_bytes()


@pytest.mark.parametrize(
    ("path", "with_host"),
    [("/", False), ("/tools/adafv/", False), ("/tools/adafv/", True)],
    ids=["top", "sub-path", "sub-path with Host"],
)
def test_files_are_found_where_the_page_was_opened(
    open_page: Callable[..., Page], monkeypatch: pytest.MonkeyPatch, path: str, with_host: bool
) -> None:
    """Below a sub-path Gradio has to know it, as its documentation says: GRADIO_ROOT_PATH."""
    monkeypatch.setenv("GRADIO_ROOT_PATH", path.rstrip("/"))
    context = shared_context()
    inner = serve(replace(context, settings=replace(context.settings, port=free_port())))[1]
    inner = inner.removesuffix(path.rstrip("/"))
    with plain_proxy(inner, path, with_host) as outer:
        page = open_page(at=outer)
        page.wait_for_function(SHOWN)
        assert not [address for address in page.evaluate(IMAGES) if inner in address]
        page.get_by_role("button", name="Ask", exact=True).click()
        page.wait_for_function("adafv.page.number === 1")
        settled(page)
        assert json.loads(saved(page, "Save run"))["prompt"] == page.input_value("#prompt textarea")
        assert saved(page, "Save PNG").startswith(b"\x89PNG")
        page.get_by_role("tab", name="Study").click()
        assert json.loads(saved(page, "Summary (JSON)"))
        if path == "/" or with_host:
            page.get_by_role("tab", name="Sweep").click()
            for box in page.locator("#sweep-methods input").all():
                box.set_checked(False)
            page.get_by_label("Random", exact=True).check()
            page.get_by_role("button", name="Run sweep").click()
            expect(page.locator("#sweep-csv")).to_be_enabled(timeout=120_000)
            assert saved(page, "CSV").startswith(b"method,keep_ratio")
        assert page.url.startswith(outer), "the tab went to the inner address"
