"""How the tabs say that something is asked or to be stopped, so that Stop ends what waits as well as what runs.

The page numbers its questions. The number goes with each of them, with Stop, and with what was chosen on the page;
these scripts put all of it in the place of the slider's value, the first input.
"""

from __future__ import annotations

from collections.abc import Callable

import gradio as gr

from app.context import Site
from app.serving.sessions import Visit
from app.serving.signals import Signals
from app.wire.parse import read_shown

SENT = "(...values) => adafv.page.sent(values)"
ASKED = "(...values) => adafv.page.ask(values)"
ASKED_AND_SENT = "(...values) => adafv.page.sent(adafv.page.ask(values))"
ASKED_AGAIN_AND_SENT = "(...values) => adafv.page.sent(adafv.page.askAgain(values))"
ASKED_AGAIN = "() => adafv.page.answered(adafv.page.again)"
COUNTED_AND_SENT = "(...values) => adafv.page.sent(adafv.page.count(values))"
HALTED = "(...values) => adafv.page.sent(adafv.page.halt(values))"

Signal = Callable[[gr.Request, str], None]


def asking(site: Site, of: Callable[[Visit], Signals] = lambda visit: visit) -> tuple[Signal, Signal]:
    """What is told ahead of a job, past the queue; and what Stop tells. of: the signals of that kind of job."""

    def order(request: gr.Request, keep: str) -> None:
        shown = read_shown(keep)
        of(site.desk.visit(request.session_hash, shown)).order(shown.asked)

    def halt(request: gr.Request, keep: str) -> None:
        shown = read_shown(keep)
        of(site.desk.visit(request.session_hash, shown)).halt(shown.asked)

    return order, halt
