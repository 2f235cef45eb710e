"""An endpoint's errors as its callers get them: one sentence, escaped."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import TypeVar

import gradio as gr

from app.wire.errors import sentence

T = TypeVar("T")


def plainly(work: Callable[[], T]) -> T:
    """Run it; whatever it raises becomes one escaped sentence for the caller, without a traceback."""
    try:
        return work()
    except gr.Error:
        raise
    except Exception as error:
        raise gr.Error(html.escape(sentence(error), quote=False), print_exception=False) from None
