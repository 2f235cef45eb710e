"""The bundled model with long, slow answers, so that there is something to stop; and a page that asks it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import Any

from helpers.app_context import free_port, serve, shared_context

from adafv_core.engine.gate import Gate
from adafv_core.engine.request import Request
from adafv_core.errors import StoppedError
from adafv_core.types import Answer
from app.context import AppContext
from app.serving.models import ModelPool
from app.serving.sessions import Sessions

TOKEN_S = 0.1
TOKENS = 30


class SlowEngine:
    """The real engine, each answer told TOKENS times.

    told: how many tokens of which method came, in all. ended: the same of each answer that has come to an end.
    """

    def __init__(self) -> None:
        self.told: dict[str, int] = {}
        self.ended: list[int] = []
        self.gate = Gate()

    def __getattr__(self, name: str) -> Any:
        return getattr(shared_context().service.pool.engine("pocket"), name)

    def stream(self, image: Any, prompt: Any, request: Request, *, stop: threading.Event) -> Iterator[Answer]:
        """`Engine.stream`, slower; one answer at a time, like the real one."""
        engine = shared_context().service.pool.engine("pocket")
        last = list(engine.stream(image, prompt, request))[-1]
        with suppress(StoppedError), self.gate.turn(stop):
            for count in range(TOKENS):
                if stop.is_set():
                    self.ended.append(count)
                    return
                time.sleep(TOKEN_S)
                self.told[request.method] = self.told.get(request.method, 0) + 1
                yield replace(last, finished=False)
            self.ended.append(TOKENS)
            yield last


@cache
def slow_context() -> AppContext:
    """The shared context on a slow engine."""
    shared = shared_context()
    settings = replace(shared.settings, port=free_port())
    engine: Any = SlowEngine()
    service = replace(
        shared.service,
        pool=ModelPool("pocket", engine, lambda name, progress: engine),
        sessions=Sessions("pocket", settings.cache_bytes),
        settings=settings,
    )
    return replace(shared, settings=settings, service=service)


def slow_engine() -> SlowEngine:
    """The one of the slow context."""
    engine: Any = slow_context().service.pool.engine("pocket")
    assert isinstance(engine, SlowEngine)
    return engine


@cache
def slow_address() -> str:
    """The address of the slow context's page."""
    return serve(slow_context())[1]
