"""What is told of an error: one sentence that says what to do, escaped, and never anything of the server's inside."""

from __future__ import annotations

import html
import sys
import traceback
from collections.abc import Callable
from typing import TypeVar

import gradio as gr

from adafv_core.errors import AdaFVError
from app.bench import Stopped

T = TypeVar("T")
STOPPED = "The request was stopped before it was answered: send it again."
UNEXPECTED = (
    "The server met an error that it did not expect. Send the request again; if that does not help, tell whoever "
    "runs this server: its log holds the details."
)


def sentence(error: BaseException) -> str:
    """What to tell of an error. One that nobody foresaw is written to stderr with its traceback, and only there."""
    if isinstance(error, AdaFVError):
        return str(error)
    if isinstance(error, Stopped):
        return STOPPED
    traceback.print_exception(error, file=sys.stderr)
    return UNEXPECTED


def plainly(work: Callable[[], T]) -> T:
    """Run it; whatever it raises becomes one escaped sentence for the caller, without a traceback."""
    try:
        return work()
    except gr.Error:
        raise
    except Exception as error:
        raise gr.Error(html.escape(sentence(error), quote=False), print_exception=False) from None
