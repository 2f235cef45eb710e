"""Switching models: the menu under "More", and the offer of a real model on a machine with a GPU."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from adafv_core.errors import AdaFVError, InputError
from adafv_core.loading.known_models import KnownModel, find_known
from app.context import AppContext
from app.events import PRIVATE, SILENT
from app.gradio_ext.components import html_view
from app.gradio_ext.queueing import client_gone
from app.serving.models import ModelPool, offered_on_gpu, on_disk, others, read_model, switch_model
from app.wire.views import masthead, notice

_UPDATE_S = 0.4


@dataclass
class ModelMenu:
    """Components of the model menu. offer: only on a machine with a GPU."""

    model: gr.Dropdown
    load: gr.Button
    progress: gr.HTML
    offer: gr.HTML | None


def build_offer(context: AppContext) -> gr.HTML | None:
    """A one-click offer of a real model, if the machine has a GPU and the pocket model answers; else None."""
    if not (context.gpu and context.settings.model_menu and context.service.pool.first == "pocket"):
        return None
    return html_view("offer", offer_view(context), events=("take",))


def build_menu(context: AppContext, offer: gr.HTML | None) -> ModelMenu:
    """Build the model menu."""
    pool, allowed = context.service.pool, context.settings.model_menu
    model = gr.Dropdown(
        choices(pool),
        value=pool.first,
        label="Model (others may be typed where the page allows them)",
        elem_id="model",
        allow_custom_value=True,
        visible=allowed,
    )
    load = gr.Button("Load model", elem_id="load-model", size="md", visible=allowed)
    return ModelMenu(model, load, html_view("progress", elem_id="model-progress"), offer)


def choices(pool: ModelPool) -> list[tuple[str, str]]:
    """The menu's entries as (text, name): the model the app started with, then the known ones, those that fit first."""
    on_gpu = pool.device.type == "cuda"
    entries = [(pool.first, pool.first)]
    for known, fits in others(pool.first, pool.device):
        missing = f" · needs {known.needed_bytes(on_gpu) / 1e9:.0f} GB of free memory" if fits is False else ""
        entries.append((f"{known.title} · {cost(known)}{missing}", known.model_id))
    return entries


def cost(known: KnownModel) -> str:
    """What loading a model takes: its download, if it is not on this machine yet, and its license."""
    return f"{'downloaded' if on_disk(known) else f'{known.download_bytes / 1e9:.1f} GB download'} · {known.license}"


def offer_view(
    context: AppContext, progress: dict[str, Any] | None = None, taken: bool = False, known: KnownModel | None = None
) -> str:
    """The offer of a real model as JSON text. progress: while it loads. taken: whether the offer is gone. known: the
    model, by default the one that is offered now.
    """
    known = known or offered_on_gpu(context.service.pool)
    ready = known.model_id in context.service.pool.loaded()
    body = {
        "shown": not taken,
        "text": "This machine has a GPU: a real model can answer, about photographs too.",
        "cost": "loaded already" if ready else cost(known),
        "button": f"{'Ask' if ready else 'Load'} {known.title}",
        "progress": progress,
    }
    return json.dumps(body)


def bind_menu(context: AppContext, menu: ModelMenu, notice_line: gr.HTML, title: gr.HTML) -> list[Any]:
    """Connect menu and offer: they show progress while a model loads; if that fails, the old model keeps answering.

    notice_line, title: show the outcome and the model's name. Returns the events after which another model may
    answer.
    """
    service = context.service
    outputs = [menu.progress, menu.model, notice_line, title, *([menu.offer] if menu.offer else [])]

    def load(
        request: gr.Request, name: str, place: gr.HTML, text_of: Callable[[dict[str, Any]], str]
    ) -> Iterator[dict[Any, Any]]:
        session = service.sessions.of(request.session_hash)
        gone = client_gone(request)
        loading = service.pool.load(name, gone)
        yield {notice_line: notice(), place: text_of(loading.view())}
        while not loading.ended(_UPDATE_S):
            yield {place: text_of(loading.view())}
        changed: dict[Any, Any]
        try:
            engine = switch_model(session, loading, gone)
        except AdaFVError as error:
            text = f"{error} The page stays on {session.model}."
            changed = {notice_line: notice(text, "error")}
        else:
            text = f"{name} is loaded and answers from now on."
            chosen = gr.Dropdown(choices(service.pool), value=name)
            changed = {notice_line: notice(text), title: masthead(engine), menu.model: chosen}
        changed[menu.progress] = json.dumps({"share": None, "text": text})
        if menu.offer is not None:
            changed[menu.offer] = offer_view(context, taken=session.model != service.pool.first)
        yield changed

    def from_menu(request: gr.Request, name: Any) -> Iterator[dict[Any, Any]]:
        chosen = str(name or "").strip()
        try:
            chosen = read_model(chosen, context.settings)
        except InputError as error:
            yield {notice_line: notice(str(error), "error")}
        else:
            yield from load(request, chosen, menu.progress, json.dumps)

    def from_offer(request: gr.Request) -> Iterator[dict[Any, Any]]:
        known = offered_on_gpu(service.pool)
        yield from load(
            request, known.model_id, menu.offer, lambda progress: offer_view(context, progress, known=known)
        )

    def from_notice(request: gr.Request, event: gr.EventData) -> Iterator[dict[Any, Any]]:
        known = find_known(str(getattr(event, "model", "")))
        if known is not None and context.settings.model_menu:
            yield from load(request, known.model_id, notice_line, lambda progress: notice(progress["text"]))

    events = [
        menu.load.click(from_menu, menu.model, outputs, concurrency_limit=16, **PRIVATE),
        notice_line.take(from_notice, None, outputs, concurrency_limit=16, **PRIVATE),
    ]
    if menu.offer is not None:
        events.append(menu.offer.take(from_offer, None, outputs, concurrency_limit=16, **PRIVATE))
        gr.on(None, lambda: offer_view(context), None, menu.offer, **SILENT)
    return events
