"""Which chromium the browser tests drive, how it is started, and when the page has settled."""

from __future__ import annotations

import os
import shutil

from playwright.sync_api import Page

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium() -> str:
    """$CHROMIUM, else the one on the path."""
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    assert program, "No chromium was found: install Debian's package chromium, or set CHROMIUM to a program."
    return program


def settled(page: Page, timeout: float = 60_000) -> None:
    """Wait until both answers have come to an end."""
    page.wait_for_function(
        "!document.querySelector('.answers[data-waiting]') && Array.from(document.querySelectorAll('.answer'))"
        ".every((a) => ['done', 'stopped', 'error'].includes(a.dataset.state))",
        timeout=timeout,
    )
