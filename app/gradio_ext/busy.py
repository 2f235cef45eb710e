"""What callers of the queue see: when to retry if it is full; and who reads results, for the queue to know."""

from __future__ import annotations

from contextlib import nullcontext
from urllib.parse import parse_qs

import gradio as gr
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.gradio_ext.queueing import FairQueue, wait_s, whole_s

WRITTEN_FOR = "6.31"


class BusyMiddleware:
    """ASGI middleware: a refusal of the queue says when to retry, and the queue knows who reads results.

    The sentences are the queue's. Gradio's page shows a text of its own for status 503, and the server's `detail` for
    others: the page (which identifies itself as `x-gradio-user: app`) gets 429, every other caller the 503 that its
    client expects. page: whose queue it is.
    """

    def __init__(self, app: ASGIApp, page: gr.Blocks) -> None:
        self.app = app
        self.page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything through; a 503 in response to joining the queue gets a header and perhaps another status."""
        path = str(scope.get("path", ""))
        if scope["type"] != "http" or not (path.endswith(("/queue/join", "/queue/data")) or "/call/" in path):
            await self.app(scope, receive, send)
            return

        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 503:
                MutableHeaders(scope=message)["retry-after"] = str(whole_s(wait_s(self.page._queue)))
                if Headers(scope=scope).get("x-gradio-user") == "app":
                    message["status"] = 429
            await send(message)

        queue = self.page._queue
        reader = _reader(scope, path) if isinstance(queue, FairQueue) else None
        with queue.listening(reader) if reader else nullcontext():
            await self.app(scope, receive, dated)


def _reader(scope: Scope, path: str) -> str | None:
    """The session or the call whose results this request reads; None for any other request."""
    if scope["method"] != "GET":
        return None
    if path.endswith("/queue/data"):
        return (parse_qs(scope["query_string"].decode("latin-1")).get("session_hash") or [None])[0]
    return path.rstrip("/").rpartition("/")[2]
