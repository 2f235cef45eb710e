"""The page's events: scripts that run in the browser before a call, and the handlers of Ask and Stop.

The page numbers its requests. The number travels in the page's state, which these scripts put in place of the slider's
value, the first input of every event. Ask and Stop are handled outside the queue, so that Stop reaches a job that is
still waiting as well as one that runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from app.context import AppContext
from app.serving.sessions import JobControl, Session
from app.wire.parse import PageState, read_page_state

WITH_STATE = "(...values) => adafv.page.sent(values)"
ASK = "(...values) => adafv.page.ask(values)"
ASK_WITH_STATE = "(...values) => adafv.page.sent(adafv.page.ask(values))"
ASK_AGAIN_WITH_STATE = "(...values) => adafv.page.sent(adafv.page.askAgain(values))"
ASKED_AGAIN = "() => adafv.page.answered(adafv.page.again)"
COUNT_WITH_STATE = "(...values) => adafv.page.sent(adafv.page.count(values))"
HALT_WITH_STATE = "(...values) => adafv.page.sent(adafv.page.halt(values))"

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""Options of every event of the page: not part of the API, and no Gradio progress bar."""
SILENT: dict[str, Any] = {**PRIVATE, "queue": False}
SWEEPS: dict[str, Any] = {"concurrency_id": "sweep", "concurrency_limit": 4}
STUDIES: dict[str, Any] = {"concurrency_id": "study", "concurrency_limit": 4}
STRIPS: dict[str, Any] = {"concurrency_id": "strip", "concurrency_limit": 4}
CAUSAL_MAPS: dict[str, Any] = {"concurrency_id": "causal map", "concurrency_limit": 4}
COMPARISONS: dict[str, Any] = {"concurrency_id": "comparison", "concurrency_limit": 4}
"""Options of long jobs: several visitors run one each, and these take turns on the model batch by batch."""

Handler = Callable[[gr.Request, str], None]


def on_the_model(context: AppContext) -> dict[str, Any]:
    """Options of every event and endpoint that asks the model: in the queue they wait in one line."""
    return {"concurrency_id": "model", "concurrency_limit": context.settings.answers_at_once}


def job_handlers(
    context: AppContext, controls_of: Callable[[Session], JobControl | Sequence[JobControl]]
) -> tuple[Handler, Handler]:
    """The handlers that run before a job, and on Stop. controls_of: the kinds of jobs of a session that end then, by
    their control.
    """

    def controls(request: gr.Request, state: PageState) -> Sequence[JobControl]:
        found = controls_of(context.service.session(request.session_hash, state))
        return [found] if isinstance(found, JobControl) else found

    def supersede(request: gr.Request, page_state: str) -> None:
        state = read_page_state(page_state)
        for control in controls(request, state):
            control.supersede(state.number)

    def stop(request: gr.Request, page_state: str) -> None:
        state = read_page_state(page_state)
        for control in controls(request, state):
            control.stop_through(state.number)

    return supersede, stop
