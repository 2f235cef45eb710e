"""Another model: the menu under "More", the offer of a real one where there is a GPU, and what is told on the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from adafv_core.errors import AdaFVError
from adafv_core.loading.known_models import KnownModel, find_known
from app.context import AppContext
from app.gradio_ext.components import html_view
from app.serving.models import ON_A_GPU, on_disk, others, switch_model
from app.wire.views import masthead, notice

_UPDATE_S = 0.4


@dataclass
class ModelMenu:
    """Components of the model menu. offer: shown where a GPU is found."""

    model: gr.Dropdown
    load: gr.Button
    progress: gr.HTML
    offer: gr.HTML | None


def build_offer(context: AppContext) -> gr.HTML | None:
    """Where a GPU is found and the pocket model answers: one click to a real model."""
    if not (context.gpu and context.settings.model_menu and context.service.pool.first == "pocket"):
        return None
    return html_view("offer", offer_view(context), events=("take",))


def build_menu(context: AppContext, offer: gr.HTML | None) -> ModelMenu:
    """Lay the model menu out."""
    first, allowed = context.service.pool.first, context.settings.model_menu
    model = gr.Dropdown(
        choices(first),
        value=first,
        label="Model (a hub id or folder may be typed)",
        elem_id="model",
        allow_custom_value=True,
        visible=allowed,
    )
    load = gr.Button("Load model", elem_id="load-model", size="md", visible=allowed)
    return ModelMenu(model, load, html_view("progress", elem_id="model-progress"), offer)


def choices(first: str) -> list[tuple[str, str]]:
    """What the menu lists, as pairs of text and name: the model the app started with, and the known ones."""
    return [(first, first), *((f"{known.title} · {cost(known)}", known.model_id) for known in others(first))]


def cost(known: KnownModel) -> str:
    """What a model asks of whoever loads it: a download, unless it is on this machine, and a licence."""
    return f"{'downloaded' if on_disk(known) else f'{known.download_bytes / 1e9:.1f} GB download'} · {known.licence}"


def offer_view(context: AppContext, progress: dict[str, Any] | None = None, taken: bool = False) -> str:
    """The offer of a real model as JSON text. progress: while it is on its way. taken: nothing is offered."""
    known = find_known(ON_A_GPU)
    title = known.title if known else ON_A_GPU
    ready = ON_A_GPU in context.service.pool.loaded()
    body = {
        "shown": not taken,
        "text": "This machine has a GPU: a real model can answer here, about photographs too.",
        "cost": "loaded already" if ready else cost(known) if known else "",
        "button": f"Ask {title}" if ready else f"Load {title}",
        "progress": progress,
    }
    return json.dumps(body)


def bind_menu(context: AppContext, menu: ModelMenu, shown: dict[str, Any]) -> list[Any]:
    """Wire menu and offer: progress while a model loads; a failed load leaves the old model working.

    shown: the components a loaded model changes. Returns the events after which another model may answer.
    """
    service = context.service
    outputs = [menu.progress, menu.model, shown["notice"], shown["masthead"], *([menu.offer] if menu.offer else [])]

    def load(request: gr.Request, wanted: str, place: gr.HTML, told: Callable[[dict[str, Any]], str]) -> Iterator[Any]:
        session = service.sessions.of(request.session_hash)
        coming = service.pool.load(wanted)
        yield {shown["notice"]: notice(), place: told(coming.view())}
        while not coming.ended(_UPDATE_S):
            yield {place: told(coming.view())}
        try:
            engine = switch_model(session, coming)
        except AdaFVError as error:
            said = f"{error} The page stays on {session.model}."
            changed = {shown["notice"]: notice(said, "error")}
        else:
            said = f"{wanted} is loaded and answers from now on."
            chosen = gr.Dropdown(choices(service.pool.first), value=wanted)
            changed = {shown["notice"]: notice(said), shown["masthead"]: masthead(engine), menu.model: chosen}
        changed[menu.progress] = json.dumps({"share": None, "text": said})
        if menu.offer is not None:
            changed[menu.offer] = offer_view(context, taken=session.model != service.pool.first)
        yield changed

    def from_menu(request: gr.Request, name: Any) -> Iterator[Any]:
        wanted = str(name or "").strip()
        if wanted and context.settings.model_menu:
            yield from load(request, wanted, menu.progress, json.dumps)
        else:
            yield {shown["notice"]: notice("Choose a model from the list, or type a hub id or folder.", "error")}

    def from_offer(request: gr.Request) -> Iterator[Any]:
        yield from load(request, ON_A_GPU, menu.offer, lambda seen: offer_view(context, seen))

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    events = [menu.load.click(from_menu, menu.model, outputs, concurrency_limit=16, **private)]
    if menu.offer is not None:
        events.append(menu.offer.take(from_offer, None, outputs, concurrency_limit=16, **private))
        gr.on(None, lambda: offer_view(context), None, menu.offer, queue=False, **private)
    return events
