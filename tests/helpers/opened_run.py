"""Saves a run on the page and opens it again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from helpers.app_site import question, shared_site
from playwright.sync_api import Page, expect

from app.saved_runs.save_and_open import save_json
from app.serving.sessions import Visit
from app.wire.parse import Choice, More


def saved_run(
    folder: Path,
    method: str = "adafv",
    more: More | None = None,
    ratio: float = 0.25,
    marks: tuple[int, ...] = (),
    **changed: Any,
) -> tuple[Path, list[int]]:
    """A run file and the tokens it keeps. marks: tokens forced to stay."""
    visit = Visit("pocket")
    list(shared_site().desk.ask(visit, question(method=method, choice=Choice(ratio, marks), more=more)))
    place = json.dumps({"keep_ratio": ratio, "force_keep": marks, "force_drop": []})
    record = json.loads(Path(save_json(shared_site(), visit, place)).read_text(encoding="utf-8"))
    file = folder / "run.json"
    file.write_text(json.dumps({**record, **changed}), encoding="utf-8")
    return file, record["selection"]["kept"]


def opened(page: Page, file: Path) -> None:
    page.set_input_files("#save-row input[type=file]", file)
    expect(page.locator("#part-notice .notice")).to_contain_text("Opened a saved run", timeout=30_000)
