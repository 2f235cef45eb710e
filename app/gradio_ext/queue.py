"""Past the queue's length: one sentence that says when to come back, in place of Gradio's own."""

from __future__ import annotations

import math
from typing import Any

import gradio as gr

UNKNOWN_S = 2.0
"""Taken for a request of a kind that has not run yet."""


def say_when_busy(page: gr.Blocks) -> None:
    """Make a page's queue refuse with `busy_text`. The status stays 503; what was accepted is not touched."""
    waiting = page._queue
    push = waiting.push

    async def push_or_say(*arguments: Any, **options: Any) -> Any:
        outcome = await push(*arguments, **options)
        if outcome[2] != "queue_full":
            return outcome
        return False, busy_text(wait_s(waiting)), "queue_full"

    waiting.push = push_or_say  # type: ignore[method-assign]


def wait_s(waiting: Any) -> float:
    """Seconds until the longest line is served, from how long such requests took so far."""
    lines = []
    for line in waiting.event_queue_per_concurrency_id.values():
        past = [waiting.process_time_per_fn.get(event.fn) for event in line.queue]
        each = [one.avg_time if one is not None and one.count else UNKNOWN_S for one in past]
        lines.append(sum(each) / (line.concurrency_limit or max(1, len(each))))
    return max(lines, default=UNKNOWN_S)


def busy_text(seconds: float) -> str:
    """The sentence."""
    return f"Busy: many questions are waiting. Try again in {max(1, math.ceil(seconds))} s."
