"""The row under the maps: save as PNG or JSON, open a saved run; and the model menu."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from adafv_core.errors import AdaFVError
from adafv_core.models.registry import KNOWN_MODELS, find_known
from app.parts import part
from app.saving import open_run, save_json, save_png
from app.site import Site
from app.views import masthead, notice

GIGABYTES = 1e9
OFFERED = "llava-hf/llava-1.5-7b-hf"


@dataclass
class Keepsakes:
    """Components of the saving row."""

    png: gr.Button
    json: gr.Button
    open: gr.UploadButton
    png_file: gr.DownloadButton
    json_file: gr.DownloadButton


@dataclass
class ModelMenu:
    """Components of the model menu. offer: shown where a GPU is found."""

    model: gr.Dropdown
    load: gr.Button
    progress: gr.HTML
    offer: gr.Button | None


def build_row() -> Keepsakes:
    """Lay the saving row out."""
    with gr.Row(elem_id="save-row"):
        png = gr.Button("Save PNG", elem_id="save-png", size="sm")
        json_button = gr.Button("Save run", elem_id="save-json", size="sm")
        opened = gr.UploadButton("Open run", file_types=[".json"], elem_id="open-run", size="sm")
        png_file = gr.DownloadButton("PNG", visible="hidden", elem_id="png-file")
        json_file = gr.DownloadButton("JSON", visible="hidden", elem_id="json-file")
    return Keepsakes(png, json_button, opened, png_file, json_file)


def build_offer(site: Site) -> gr.Button | None:
    """Where a GPU is found and the pocket model answers: one click to a real model."""
    if not (site.gpu and site.settings.model_menu and site.desk.garage.first == "pocket"):
        return None
    return gr.Button(offer_text(OFFERED), elem_id="offer-model", variant="primary", size="sm")


def build_menu(site: Site, offer: gr.Button | None) -> ModelMenu:
    """Lay the model menu out."""
    choices = [(site.desk.garage.first, site.desk.garage.first)]
    choices += [
        (f"{known.title} · {known.download_bytes / GIGABYTES:.1f} GB · {known.licence}", known.model_id)
        for known in KNOWN_MODELS
        if known.model_id != site.desk.garage.first
    ]
    allowed = site.settings.model_menu
    model = gr.Dropdown(
        choices, value=site.desk.garage.first, label="Model (a hub id or folder may be typed)", elem_id="model",
        allow_custom_value=True, visible=allowed,
    )  # fmt: skip
    load = gr.Button("Load model", elem_id="load-model", size="sm", visible=allowed)
    return ModelMenu(model, load, part("progress", place="model-progress"), offer)


def offer_text(model_id: str) -> str:
    """The one-click offer of a real model, with what it costs."""
    known = find_known(model_id)
    if known is None:
        return f"Load {model_id}"
    return f"Load {known.title} · {known.download_bytes / GIGABYTES:.1f} GB download · {known.licence}"


def bind_row(site: Site, row: Keepsakes, keep: gr.HTML, shown: dict[str, Any]) -> None:
    """Wire the saving row. shown: the components an opened run fills."""
    desk = site.desk
    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

    def as_file(save: Any) -> Any:
        def make(request: gr.Request, choice: Any) -> tuple[Any, Any]:
            try:
                return save(site, desk.visits.of(request.session_hash), choice), notice()
            except AdaFVError as error:
                return gr.skip(), notice(str(error), "error")

        return make

    for button, file, save, name in (
        (row.png, row.png_file, save_png, "png-file"),
        (row.json, row.json_file, save_json, "json-file"),
    ):
        click = f"() => (document.querySelector('#{name} a, a#{name}') || document.querySelector('#{name}')).click()"
        button.click(as_file(save), [keep], [file, shown["notice"]], **private).then(None, None, None, js=click)

    def opened(request: gr.Request, path: str) -> tuple[Any, ...]:
        try:
            run = open_run(site, desk.visits.of(request.session_hash), path)
        except AdaFVError as error:
            return (*([gr.skip()] * 6), notice(str(error), "error"))
        hidden = gr.Radio([], value=None, visible=False)
        return run.payload, run.answers, run.picture_path, run.prompt, run.method, hidden, notice(run.note)

    names = ("stage", "answers", "image", "prompt", "method", "questions", "notice")
    row.open.upload(opened, [row.open], [shown[name] for name in names], **private)


def bind_menu(site: Site, menu: ModelMenu, shown: dict[str, Any]) -> None:
    """Wire the model menu: progress while it loads; a failed load leaves the old model working."""
    desk = site.desk

    def load(request: gr.Request, name: Any) -> Iterator[tuple[Any, ...]]:
        visit = desk.visits.of(request.session_hash)
        wanted = str(name or "").strip()
        if not site.settings.model_menu or not wanted:
            yield gr.skip(), notice("Choose a model from the list, or type a hub id or folder.", "error"), gr.skip()
            return
        outcome: list[Any] = []

        def work() -> None:
            try:
                outcome.append(desk.garage.engine(wanted))
            except BaseException as error:
                outcome.append(error)

        thread = threading.Thread(target=work, name="adafv-load", daemon=True)
        started = time.perf_counter()
        thread.start()
        while thread.is_alive():
            passed = time.perf_counter() - started
            yield json.dumps({"share": None, "text": f"Loading {wanted}: {passed:.0f} s"}), gr.skip(), gr.skip()
            thread.join(0.5)
        done = json.dumps({"share": None, "text": ""})
        if isinstance(outcome[0], AdaFVError):
            text = f"{outcome[0]} The page stays on {visit.model}."
            yield done, notice(text, "error"), gr.skip()
        elif isinstance(outcome[0], BaseException):
            text = f"{wanted} could not be loaded ({type(outcome[0]).__name__}). The page stays on {visit.model}."
            yield done, notice(text, "error"), gr.skip()
        else:
            visit.model, visit.encoded, visit.shown_key = wanted, None, ""
            yield done, notice(f"{wanted} is loaded and answers from now on."), masthead(outcome[0])

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    outputs = [menu.progress, shown["notice"], shown["masthead"]]
    settings: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": 4}
    menu.load.click(load, menu.model, outputs, **settings)
    if menu.offer is not None:
        menu.offer.click(lambda: OFFERED, None, menu.model, **private).then(load, menu.model, outputs, **settings)
