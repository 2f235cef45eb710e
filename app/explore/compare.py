"""Compare A | B below the maps: what is shown is pinned as A, and whatever is shown after that is B."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import gradio as gr

from adafv_core.errors import StoppedError
from app.context import AppContext
from app.events import COMPARISONS, PRIVATE, SILENT, WITH_STATE, job_handlers
from app.explore.shown_run import NO_VERDICT, is_foreign, shown_run
from app.gradio_ext.components import html_view
from app.gradio_ext.queueing import client_gone
from app.serving.comparison import compare_sides
from app.serving.sessions import Side
from app.serving.zero_gpu import on_zero_gpu
from app.wire.errors import sentence
from app.wire.parse import read_page_state

ASK_AGAIN = "Ask again first: the server does not hold this question any more."
PIN_AGAIN = "The server does not hold side A any more: go back to it, ask, and pin it again."


def build_compare() -> gr.HTML:
    """Both sides, empty until one is pinned. Where GPU time is counted they are measured on a click only."""
    return html_view("compare", json.dumps({"auto": not on_zero_gpu()}), events=("pin", "unpin", "measure", "halt"))


def bind_compare(context: AppContext, view: gr.HTML, keep: gr.HTML) -> None:
    """Connect its events. keep: the slider, which carries the page's state to the server."""
    service = context.service
    supersede, stop = job_handlers(context, lambda session: session.comparing)

    def pin(request: gr.Request, page_state: str) -> str:
        state = read_page_state(page_state)
        session = service.session(request.session_hash, state)
        run = shown_run(context, session, state)
        session.pinned = Side(run, state.choice) if run else None
        return json.dumps({"pinned": state.payload_key, "note": "" if run else ASK_AGAIN})

    def unpin(request: gr.Request, page_state: str) -> None:
        session = service.session(request.session_hash, read_page_state(page_state))
        session.comparing.stop.set()
        session.pinned = None

    def measure(request: gr.Request, page_state: str) -> Iterator[str]:
        state = read_page_state(page_state)
        try:
            session = service.session(request.session_hash, state)
            a, run = session.pinned, shown_run(context, session, state)
            signal = session.comparing.begin(state.number, client_gone(request))
            if a is None or run is None or a.run.model not in service.pool.loaded():
                yield json.dumps({"note": ASK_AGAIN if run is None else PIN_AGAIN})
            elif is_foreign(context, a.run) or is_foreign(context, run):
                yield json.dumps({"note": NO_VERDICT})
            else:
                for known in compare_sides(service, a, Side(run, state.choice), signal):
                    yield json.dumps({**known, "keys": [a.run.key, run.key]}, allow_nan=False)
        except StoppedError:
            return
        except Exception as error:
            yield json.dumps({"note": sentence(error)})

    options: dict[str, Any] = {**PRIVATE, **COMPARISONS, "trigger_mode": "multiple"}
    view.pin(pin, keep, view, js=WITH_STATE, **SILENT)
    view.unpin(unpin, keep, js=WITH_STATE, **SILENT)
    view.measure(supersede, keep, js=WITH_STATE, **SILENT).then(measure, keep, view, js=WITH_STATE, **options)
    view.halt(stop, keep, js=WITH_STATE, **SILENT)
