"""How the tabs say that something is asked or to be stopped, so that Stop ends what waits as well as what runs.

The page numbers its questions. The number goes with each of them, with Stop, and with what was chosen on the page;
these scripts put all of it in the place of the slider's value, the first input.
"""

from __future__ import annotations

from collections.abc import Callable

import gradio as gr

from app.context import AppContext
from app.serving.sessions import JobControl, Session
from app.wire.parse import read_shown

SENT = "(...values) => adafv.page.sent(values)"
ASKED = "(...values) => adafv.page.ask(values)"
ASKED_AND_SENT = "(...values) => adafv.page.sent(adafv.page.ask(values))"
ASKED_AGAIN_AND_SENT = "(...values) => adafv.page.sent(adafv.page.askAgain(values))"
ASKED_AGAIN = "() => adafv.page.answered(adafv.page.again)"
COUNTED_AND_SENT = "(...values) => adafv.page.sent(adafv.page.count(values))"
HALTED = "(...values) => adafv.page.sent(adafv.page.halt(values))"

Signal = Callable[[gr.Request, str], None]


def asking(context: AppContext, of: Callable[[Session], JobControl] = lambda session: session) -> tuple[Signal, Signal]:
    """What is told ahead of a job, past the queue; and what Stop tells. of: the signals of that kind of job."""

    def order(request: gr.Request, keep: str) -> None:
        shown = read_shown(keep)
        of(context.service.session(request.session_hash, shown)).order(shown.asked)

    def halt(request: gr.Request, keep: str) -> None:
        shown = read_shown(keep)
        of(context.service.session(request.session_hash, shown)).halt(shown.asked)

    return order, halt
