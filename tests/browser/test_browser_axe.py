"""axe-core on every tab, wide and narrow, light and dark: no violation of WCAG or of its best practices."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from helpers.browser import settled
from helpers.npm_packages import LINT, npm_program
from playwright.sync_api import Page

RUN = """async () => {
  const found = await axe.run(document, { resultTypes: ["violations"] });
  const places = (one) => one.nodes.slice(0, 3).map((node) => node.html.slice(0, 200));
  return found.violations.map((one) => [one.id, one.help, places(one)]);
}"""


@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing(open_page: Callable[..., Page], width: int) -> None:
    npm_program()
    page = open_page(width, 900)
    settled(page)
    page.add_script_tag(path=LINT / "node_modules" / "axe-core" / "axe.min.js")
    found: dict[str, Any] = {}
    for scheme in ("light", "dark"):
        for tab in ("Explore", "Sweep", "Study", "About"):
            page.get_by_role("tab", name=tab).click()
            page.wait_for_function("!document.querySelector('#study [aria-label=\"Empty value\"]')")  # charts to come
            page.wait_for_timeout(600)
            if violations := page.evaluate(RUN):
                found[f"{tab}, {scheme}"] = violations
        page.locator(".theme-toggle").click()
    assert not found, json.dumps(found, indent=1)
