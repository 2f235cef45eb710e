"""Answers requests to a full queue with one sentence that says when to retry, instead of Gradio's own text."""

from __future__ import annotations

import json
import math
from typing import Any

import gradio as gr
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

WRITTEN_FOR = "6.31"
UNKNOWN_S = 2.0
"""Assumed for a request of a kind that has not run yet."""


class BusyMiddleware:
    """ASGI middleware: replaces the body of a 503 from the queue with `busy_text`.

    Gradio's page shows a text of its own for status 503, and the server's `detail` for others: the page (which
    identifies itself as `x-gradio-user: app`) gets 429, every other caller the 503 that its client expects.
    page: whose queue is asked how long the wait is.
    """

    def __init__(self, app: ASGIApp, page: gr.Blocks) -> None:
        self.app = app
        self.page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything through unchanged, except a 503 in response to joining the queue."""
        path = str(scope.get("path", ""))
        if scope["type"] != "http" or not (path.endswith("/queue/join") or "/call/" in path):
            await self.app(scope, receive, send)
            return
        refused = False

        async def replace(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] == 503:
                refused = True
                from_page = Headers(scope=scope).get("x-gradio-user") == "app"
                await self._refuse(send, 429 if from_page else 503)
            elif not refused:
                await send(message)

        await self.app(scope, receive, replace)

    async def _refuse(self, send: Send, status: int) -> None:
        seconds = wait_s(self.page)
        body = json.dumps({"detail": busy_text(seconds)}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"retry-after", str(_whole(seconds)).encode()),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def wait_s(page: gr.Blocks) -> float:
    """Estimated seconds until the longest line of the page's queue is served, from the mean time of past requests.

    Reads Gradio's private `Blocks._queue`: its lines by concurrency id, and the mean time of each function.
    """
    queue: Any = page._queue
    waits = []
    for line in queue.event_queue_per_concurrency_id.values():
        times = [queue.process_time_per_fn.get(event.fn) for event in line.queue]
        each = [time.avg_time if time is not None and time.count else UNKNOWN_S for time in times]
        waits.append(sum(each) / (line.concurrency_limit or max(1, len(each))))
    return max(waits, default=UNKNOWN_S)


def busy_text(seconds: float) -> str:
    """The sentence."""
    return f"Busy: many questions are waiting. Try again in {_whole(seconds)} s."


def _whole(seconds: float) -> int:
    return max(1, math.ceil(seconds))
