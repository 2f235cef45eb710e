"""Saves a run on the page and opens it again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from helpers.app_context import question, shared_context
from playwright.sync_api import Page, expect

from app.saved_runs.save_and_open import save_json
from app.serving.page_stream import page_stream
from app.serving.sessions import Session
from app.wire.parse import AskSettings, TokenChoice, read_page_state


def saved_run(
    folder: Path,
    method: str = "adafv",
    more: AskSettings | None = None,
    ratio: float = 0.25,
    marks: tuple[int, ...] = (),
    **changed: Any,
) -> tuple[Path, list[int]]:
    """A run file and the tokens it keeps. marks: tokens forced to stay."""
    session = Session("pocket")
    list(
        page_stream(
            shared_context().service, session, question(method=method, choice=TokenChoice(ratio, marks), more=more)
        )
    )
    place = json.dumps({"keep_ratio": ratio, "force_keep": marks, "force_drop": []})
    text = Path(save_json(shared_context(), session, read_page_state(place))).read_text(encoding="utf-8")
    record = json.loads(text)
    file = folder / "run.json"
    file.write_text(json.dumps({**record, **changed}) if changed else text, encoding="utf-8")
    return file, record["selection"]["kept"]


def opened(page: Page, file: Path) -> None:
    page.set_input_files("#save-row input[type=file]", file)
    expect(page.locator("#view-notice .notice")).to_contain_text("Opened a saved run", timeout=30_000)
