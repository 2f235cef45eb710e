"""The bundled model with long, slow answers, so that there is something to stop; and a page that asks it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

from helpers.app_site import free_port, serve, shared_site

from adafv_core.types import Answer
from app.context import Site
from app.serving.jobs import Bench
from app.serving.models import Garage
from app.serving.sessions import Visits

TOKEN_S = 0.1
TOKENS = 30


class SlowEngine:
    """The real engine, each answer told TOKENS times.

    told: how many tokens of which method came, in all. ended: the same of each answer that has come to an end.
    """

    def __init__(self) -> None:
        self.told: dict[str, int] = {}
        self.ended: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(shared_site().desk.garage.engine("pocket"), name)

    def stream(self, image: Any, prompt: str, *, method: str, stop: Any, **options: Any) -> Iterator[Answer]:
        """`Engine.stream`, slower."""
        engine = shared_site().desk.garage.engine("pocket")
        last = list(engine.stream(image, prompt, method=method, **options))[-1]
        for count in range(TOKENS):
            if stop.is_set():
                self.ended.append(count)
                return
            time.sleep(TOKEN_S)
            self.told[method] = self.told.get(method, 0) + 1
            yield replace(last, finished=False)
        self.ended.append(TOKENS)
        yield last


@cache
def slow_site() -> Site:
    """The shared site on a slow engine and a bench of its own."""
    shared = shared_site()
    settings = replace(shared.settings, port=free_port())
    engine: Any = SlowEngine()
    desk = replace(
        shared.desk,
        garage=Garage("pocket", engine, lambda name, progress: engine),
        bench=Bench(),
        visits=Visits("pocket", settings.visit_bytes),
        settings=settings,
    )
    return replace(shared, settings=settings, desk=desk)


def slow_engine() -> SlowEngine:
    """The one of the slow site."""
    engine: Any = slow_site().desk.garage.engine("pocket")
    assert isinstance(engine, SlowEngine)
    return engine


@cache
def slow_address() -> str:
    """The address of the slow site's page."""
    return serve(slow_site())[1]
