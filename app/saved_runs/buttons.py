"""The row under the maps: save as PNG or JSON, open a saved run."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import gradio as gr

from app.context import AppContext
from app.events import COUNTED_AND_SENT, SENT
from app.saved_runs.save_and_open import open_run, save_json, save_png
from app.wire.errors import sentence
from app.wire.parse import AskSettings, read_shown
from app.wire.views import notice

MORE = tuple(one.name for one in fields(AskSettings))


@dataclass
class SavingRow:
    """Components of the saving row."""

    png: gr.Button
    json: gr.Button
    open: gr.UploadButton
    png_file: gr.DownloadButton
    json_file: gr.DownloadButton


def build_row() -> SavingRow:
    """Lay the saving row out."""
    with gr.Row(elem_id="save-row"):
        png = gr.Button("Save PNG", elem_id="save-png", size="sm")
        json_button = gr.Button("Save run", elem_id="save-json", size="sm")
        opened = gr.UploadButton("Open run", file_types=[".json"], elem_id="open-run", size="sm")
        png_file = gr.DownloadButton("PNG", visible="hidden", elem_id="png-file")
        json_file = gr.DownloadButton("JSON", visible="hidden", elem_id="json-file")
    return SavingRow(png, json_button, opened, png_file, json_file)


def bind_row(context: AppContext, row: SavingRow, keep: gr.HTML, shown: dict[str, Any]) -> None:
    """Wire the saving row. shown: the components an opened run fills."""
    service = context.service
    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

    def as_file(save: Any) -> Any:
        def make(request: gr.Request, choice: Any) -> tuple[Any, Any]:
            try:
                return save(context, service.sessions.of(request.session_hash), choice), gr.skip()
            except Exception as error:
                return None, notice(sentence(error), "error", of="saving")

        return make

    for button, file, save, name in (
        (row.png, row.png_file, save_png, "png"),
        (row.json, row.json_file, save_json, "json"),
    ):
        saved = button.click(as_file(save), [keep], [file, shown["notice"]], js=SENT, **private)
        saved.then(None, None, None, js=f"() => window.adafv.saved('{name}')")

    def opened(request: gr.Request, said: str, path: str) -> tuple[Any, ...]:
        try:
            place = read_shown(said)
            run = open_run(context, service.session(request.session_hash, place), path, place.asked)
        except Exception as error:
            return (*([gr.skip()] * (len(names) - 1)), notice(sentence(error), "error"))
        hidden = gr.Radio([], value=None, visible=False)
        more = (getattr(run.more, name) for name in MORE)
        return run.payload, run.answers, run.picture_path, run.prompt, run.method, hidden, *more, notice(run.note)

    names = ("stage", "answers", "image", "prompt", "method", "questions", *MORE, "notice")
    row.open.upload(opened, [keep, row.open], [shown[name] for name in names], js=COUNTED_AND_SENT, **private)
