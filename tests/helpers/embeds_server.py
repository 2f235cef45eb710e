"""A server that answers prompt embeddings as vLLM does, on the bundled model's LLM and stock `generate`; and threads
that serve an application on a free port.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import uvicorn
from helpers.running_app import free_port
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from transformers.generation.streamers import BaseStreamer

from adafv_core.engine import Engine
from adafv_core.engine.gate import StopSignal
from adafv_core.engine.streaming import StopWhen, from_worker

NAME = "the-llm"


class EmbedsServer:
    """Answers one request at a time. tokens: generated in all. lengths: rows of each prompt that came."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.tokens = 0
        self.lengths: list[int] = []
        self.app = Starlette(
            routes=[
                Route("/v1/completions", self.complete, methods=["POST"]),
                Route("/v1/models", lambda request: JSONResponse({"object": "list", "data": [{"id": NAME}]})),
            ]
        )

    async def complete(self, request: Request) -> Response:
        """Completions, whole or streamed a token at a time; wrong input is answered as vLLM does."""
        body = await request.json()
        if body["model"] != NAME:
            wrong = f"The model `{body['model']}` does not exist."
            return JSONResponse({"error": {"message": wrong, "type": "NotFoundError", "code": 404}}, 404)
        embeddings = torch.load(io.BytesIO(base64.b64decode(body["prompt_embeds"])), weights_only=True)
        assert embeddings.ndim == 2 and embeddings.is_contiguous()
        self.lengths.append(embeddings.shape[0])
        head = {"id": "cmpl-7", "object": "text_completion", "created": 1, "model": NAME}
        if not body.get("stream"):
            ids = await asyncio.to_thread(lambda: list(self._generated(embeddings, body, threading.Event())))
            choice = {"index": 0, "text": " " + self._text(ids), "finish_reason": "stop"}
            usage = {"prompt_tokens": embeddings.shape[0], "completion_tokens": len(ids)}
            return JSONResponse({**head, "choices": [choice], "usage": usage})

        async def lines() -> AsyncIterator[str]:
            stop, ids, shown = threading.Event(), [], ""
            steps = self._generated(embeddings, body, stop)
            try:
                while (one := await asyncio.to_thread(next, steps, None)) is not None:
                    ids.append(one)
                    text = " " + self._text(ids)
                    choice = {"index": 0, "text": text[len(shown) :], "finish_reason": None}
                    shown = text
                    yield f"data: {json.dumps({**head, 'choices': [choice]})}\n\n"
                last = {"index": 0, "text": "", "finish_reason": "stop"}
                yield f"data: {json.dumps({**head, 'choices': [last]})}\n\n"
                yield "data: [DONE]\n\n"
            finally:
                stop.set()

        return StreamingResponse(lines(), media_type="text/event-stream")

    def _text(self, ids: list[int]) -> str:
        return str(self.engine.tokenizer.decode(ids, skip_special_tokens=True)).strip()

    def _generated(self, embeddings: torch.Tensor, body: dict[str, Any], stop: threading.Event) -> Iterator[int]:
        class Put(BaseStreamer):  # type: ignore[misc]
            def __init__(self, emit: Any) -> None:
                self.emit = emit

            def put(self, value: torch.Tensor) -> None:
                for one in value.reshape(-1).tolist():
                    self.emit(one)

            def end(self) -> None:
                pass

        def work(emit: Any) -> None:
            def count(one: int) -> None:
                self.tokens += 1
                emit(one)

            with self.engine.gate.turn(), torch.no_grad():
                self.engine.model.generate(
                    inputs_embeds=embeddings[None],
                    attention_mask=torch.ones(1, embeddings.shape[0], dtype=torch.long),
                    max_new_tokens=body["max_tokens"],
                    min_new_tokens=body["max_tokens"] if body.get("ignore_eos") else 0,
                    do_sample=False,
                    streamer=Put(count),
                    stopping_criteria=[StopWhen(stop.is_set)],
                )

        yield from from_worker(work, StopSignal())


@contextmanager
def served(app: Any) -> Iterator[str]:
    """The address of an ASGI application, served by a thread within the block."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", lifespan="on"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < end and thread.is_alive(), "the server did not start"
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)
