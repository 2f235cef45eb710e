"""The row under the maps: save the run as PNG or JSON, open a saved run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import gradio as gr

from app.context import AppContext
from app.events import COUNT_WITH_STATE, PRIVATE, WITH_STATE
from app.saved_runs.save_and_open import open_run, save_json, save_png
from app.serving.sessions import Session
from app.wire.errors import sentence
from app.wire.parse import PageState, read_page_state
from app.wire.views import notice

Save = Callable[[AppContext, Session, PageState], str]


@dataclass
class SavingRow:
    """Components of the saving row."""

    png: gr.Button
    json: gr.Button
    open: gr.UploadButton
    png_file: gr.DownloadButton
    json_file: gr.DownloadButton


def build_row() -> SavingRow:
    """Build the row."""
    with gr.Row(elem_id="save-row"):
        png = gr.Button("Save PNG", elem_id="save-png", size="sm")
        json_button = gr.Button("Save run", elem_id="save-json", size="sm")
        opened = gr.UploadButton("Open run", file_types=[".json"], elem_id="open-run", size="sm")
        png_file = gr.DownloadButton("PNG", visible="hidden", elem_id="png-file")
        json_file = gr.DownloadButton("JSON", visible="hidden", elem_id="json-file")
    return SavingRow(png, json_button, opened, png_file, json_file)


def bind_row(context: AppContext, row: SavingRow, keep: gr.HTML, shown: Mapping[str, Any]) -> None:
    """Connect the row's events. shown: the components that an opened run fills, by field of `OpenedRun` and of
    `AskSettings`; and those of the scene's questions and the notice."""
    service = context.service

    def saving(save: Save, file: gr.DownloadButton) -> Callable[[gr.Request, str], dict[Any, Any]]:
        def write(request: gr.Request, page_state: str) -> dict[Any, Any]:
            try:
                session = service.sessions.of(request.session_hash)
                return {file: save(context, session, read_page_state(page_state))}
            except Exception as error:
                return {file: None, shown["notice"]: notice(sentence(error), "error", of="saving")}

        return write

    buttons = ((row.png, row.png_file, save_png, "png"), (row.json, row.json_file, save_json, "json"))
    for button, file, save, name in buttons:
        saved = button.click(saving(save, file), [keep], [file, shown["notice"]], js=WITH_STATE, **PRIVATE)
        saved.then(None, None, None, js=f"() => window.adafv.saved('{name}')")

    def opened(request: gr.Request, page_state: str, path: str) -> dict[Any, Any]:
        try:
            state = read_page_state(page_state)
            run = open_run(context, service.session(request.session_hash, state), path, state.number)
        except Exception as error:
            return {shown["notice"]: notice(sentence(error), "error")}
        values = {
            "payload": run.payload,
            "answers": run.answers,
            "picture_path": run.picture_path,
            "more_paths": run.more_paths,
            "prompt": run.prompt,
            "method": run.method,
            "questions": gr.Radio([], value=None, visible=False),
            "notice": notice(run.note),
            **asdict(run.settings),
        }
        return {shown[name]: value for name, value in values.items()}

    row.open.upload(opened, [keep, row.open], list(shown.values()), js=COUNT_WITH_STATE, **PRIVATE)
