"""The causal map below the maps: what leaving each kept patch out does to the answer, measured on a click."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import gradio as gr

from adafv_core.errors import StoppedError
from app.context import AppContext
from app.events import CAUSAL_MAPS, PRIVATE, SILENT, WITH_STATE, job_handlers
from app.explore.shown_run import NO_VERDICT, is_foreign, shown_run
from app.gradio_ext.components import html_view
from app.gradio_ext.queueing import client_gone
from app.serving.causal_map import fill_causal_map
from app.wire.errors import sentence
from app.wire.parse import read_page_state

ASK_AGAIN = "Ask again first: the server does not hold this question any more."


def build_causal_map() -> gr.HTML:
    """The map, empty until it is measured."""
    return html_view("causalmap", "{}", events=("measure", "halt"))


def bind_causal_map(context: AppContext, causal_map: gr.HTML, keep: gr.HTML) -> None:
    """Connect its events. keep: the slider, which carries the page's state to the server."""
    supersede, stop = job_handlers(context, lambda session: session.removing)

    def measure(request: gr.Request, page_state: str) -> Iterator[str]:
        state = read_page_state(page_state)
        try:
            session = context.service.session(request.session_hash, state)
            run = shown_run(context, session, state)
            if run is None or is_foreign(context, run):
                yield json.dumps({"key": state.payload_key, "note": ASK_AGAIN if run is None else NO_VERDICT})
                return
            signal = session.removing.begin(state.number, client_gone(request))
            for view in fill_causal_map(context.service, run, state.choice, signal, state.block):
                yield json.dumps(view, allow_nan=False)
        except StoppedError:
            return
        except Exception as error:
            yield json.dumps({"key": state.payload_key, "note": sentence(error)})

    options: dict[str, Any] = {**PRIVATE, **CAUSAL_MAPS, "trigger_mode": "multiple"}
    asked = causal_map.measure(supersede, keep, js=WITH_STATE, **SILENT)
    asked.then(measure, keep, causal_map, js=WITH_STATE, **options)
    causal_map.halt(stop, keep, js=WITH_STATE, **SILENT)
