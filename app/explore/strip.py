"""The answer along the whole slider and the times of both answers, measured in the background once these are there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import gradio as gr

from adafv_core.errors import StoppedError
from app.context import AppContext
from app.events import PRIVATE, SILENT, STRIPS, WITH_STATE, job_handlers
from app.explore.shown_run import NO_VERDICT, is_foreign, shown_run
from app.gradio_ext.components import html_view
from app.gradio_ext.queueing import client_gone
from app.serving.answer_strip import fill_strip, strip_view
from app.serving.answer_times import measure_times
from app.serving.zero_gpu import on_zero_gpu
from app.wire.errors import sentence
from app.wire.parse import read_page_state


def build_strip() -> gr.HTML:
    """The strip. Where GPU time is counted it waits for a click."""
    return html_view("answerstrip", json.dumps({"auto": not on_zero_gpu()}), events=("fill", "halt"))


def bind_strip(context: AppContext, strip: gr.HTML, keep: gr.HTML) -> None:
    """Connect its events. keep: the slider, which carries the page's state to the server."""
    service = context.service
    supersede, stop = job_handlers(context, lambda session: session.filling)

    def fill(request: gr.Request, page_state: str) -> Iterator[str]:
        state = read_page_state(page_state)
        try:
            session = service.session(request.session_hash, state)
            run = shown_run(context, session, state)
            if run is None:
                yield json.dumps({"key": ""})
                return
            signal = session.filling.begin(state.number, client_gone(request))
            if is_foreign(context, run):
                yield json.dumps({"key": run.key, "note": NO_VERDICT})
                return
            for measured in fill_strip(service, run, state.choice, signal, context.correct_answer(run)):
                view = strip_view(measured)
                yield json.dumps(view, allow_nan=False)
            if measured.complete and run.full is not None:
                times = measure_times(service, run, state.choice, signal)
                yield json.dumps({**view, "times": {name: asdict(one) for name, one in times.items()}})
        except StoppedError:
            return
        except Exception as error:
            yield json.dumps({"key": state.payload_key, "note": sentence(error)})

    options: dict[str, Any] = {**PRIVATE, **STRIPS, "trigger_mode": "multiple"}
    strip.fill(supersede, keep, js=WITH_STATE, **SILENT).then(fill, keep, strip, js=WITH_STATE, **options)
    strip.halt(stop, keep, js=WITH_STATE, **SILENT)
