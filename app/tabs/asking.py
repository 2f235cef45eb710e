"""How the tabs say that something is asked or to be stopped, so that Stop ends what waits as well as what runs.

The page numbers its questions. The number goes with each of them, with Stop, and with what was chosen on the page;
these scripts put all of it in the place of the slider's value, the first input.
"""

from __future__ import annotations

from collections.abc import Callable

import gradio as gr

from app.inputs import read_shown
from app.site import Site

SENT = "(...values) => adafv.page.sent(values)"
ASKED = "(...values) => adafv.page.ask(values)"
ASKED_AND_SENT = "(...values) => adafv.page.sent(adafv.page.ask(values))"
COUNTED_AND_SENT = "(...values) => adafv.page.sent(adafv.page.count(values))"
HALTED = "(...values) => adafv.page.sent(adafv.page.halt(values))"

Signal = Callable[[gr.Request, str], None]


def asking(site: Site) -> tuple[Signal, Signal]:
    """What is told ahead of a question, past the queue; and what Stop tells."""

    def order(request: gr.Request, keep: str) -> None:
        shown = read_shown(keep)
        site.desk.visit(request.session_hash, shown).order(shown.asked)

    def halt(request: gr.Request, keep: str) -> None:
        shown = read_shown(keep)
        site.desk.visit(request.session_hash, shown).halt(shown.asked)

    return order, halt
