"""What runs on a replica of Ray Serve, and the messages between it and its callers.

Encoded images are large (10 MB for LLaVA-1.5-7B) and a replica mostly has them cached, so they travel as their keys.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, cast

from adafv_core.backends.remote import ModelFacts, facts_of, moved
from adafv_core.engine import Engine, load
from adafv_core.engine.gate import StopSignal
from adafv_core.errors import AdaFVError
from adafv_core.types import Answer, Selection, TokenScores, VisualTokens


@dataclass(frozen=True)
class ImageKey:
    """Stands for the VisualTokens with this key, which the other side has."""

    key: str


@dataclass(frozen=True)
class Call:
    """One call of an `Engine` method. known: keys of the images the caller holds; images: those it sends along."""

    name: str
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]
    known: frozenset[str]
    images: Mapping[str, VisualTokens] = field(default_factory=dict)


@dataclass(frozen=True)
class Missing:
    """The only value of a call whose image the replica does not have: send it along."""


@dataclass(frozen=True)
class Failed:
    """The error a call raised; it is no exception here, so that Ray adds no traceback to its sentence."""

    error: AdaFVError


class Replica:
    """One loaded model. Runs in a process of its own; `run` may be called again while a call is running."""

    def __init__(self, model: str, device: str, dtype: str, cache_bytes: int, quantization: str | None = None) -> None:
        self.engine = load(model, device, dtype, cache_bytes=cache_bytes, quantization=quantization)

    def facts(self) -> ModelFacts:
        """What was loaded, and where."""
        return facts_of(self.engine)

    def process_id(self) -> int:
        """The process it runs in."""
        return os.getpid()

    def clear_cache(self) -> None:
        """Forget all encoded images."""
        self.engine.clear_cache()

    async def run(self, call: Call) -> AsyncIterator[Any]:
        """Carry out a call and yield its values on the CPU; cancelling it stops the model within a token.

        An async generator, because Ray does not stop an ordinary one. All steps of the call run on one thread.
        """
        stop, worker = StopSignal(), ThreadPoolExecutor(1)
        values = values_of(self.engine, call, stop)
        loop = asyncio.get_running_loop()
        try:
            while (value := await loop.run_in_executor(worker, next, values, None)) is not None:
                yield value
        finally:
            stop.set()
            worker.submit(values.close)  # after the running step
            worker.shutdown(wait=False)


def values_of(engine: Engine, call: Call, stop: StopSignal) -> Generator[Any, None, None]:
    """A generator of what a call yields or returns, reduced, on the CPU; an AdaFVError as Failed."""
    sent = {key: moved(visual, engine.device) for key, visual in call.images.items()}
    for visual in sent.values():
        engine.cache.put(visual)

    def image_of(key: str) -> VisualTokens:
        cached = engine.cache.get(key)
        return sent[key] if cached is None else cached

    try:
        arguments = moved(expanded(call.arguments, image_of), engine.device)
    except KeyError:
        yield Missing()
        return
    options = moved(dict(call.options), engine.device)
    try:
        result = getattr(engine, call.name)(*arguments, stop=stop, **options)
        if call.name != "stream":
            yield reduced(moved(result, "cpu"), call.known)[0]
            return
        seen = False
        for answer in result:
            yield _without_constants(answer) if seen else moved(answer, "cpu")
            seen = True
    except AdaFVError as error:
        yield Failed(error)


def reduced(value: Any, known: frozenset[str] | None = None) -> tuple[Any, dict[str, VisualTokens]]:
    """The value with every VisualTokens replaced by its key, and these by key.

    known: replace only images with these keys; None for all that have a key.
    """
    found: dict[str, VisualTokens] = {}

    def without(one: Any) -> Any:
        if isinstance(one, VisualTokens):
            if not one.image_key or (known is not None and one.image_key not in known):
                return one
            found[one.image_key] = one
            return ImageKey(one.image_key)
        if isinstance(one, TokenScores):
            return replace(one, visual=without(one.visual))
        if isinstance(one, list | tuple):
            return type(one)(without(item) for item in one)
        return one

    return without(value), found


def expanded(value: Any, image_of: Callable[[str], VisualTokens], first: Answer | None = None) -> Any:
    """A value as it was before `reduced`. first: the first snapshot of a stream, which has what is the same in all."""
    if isinstance(value, ImageKey):
        return image_of(value.key)
    if isinstance(value, TokenScores) and isinstance(value.visual, ImageKey):
        return replace(value, visual=image_of(value.visual.key))
    if isinstance(value, Answer) and first is not None:
        same: dict[str, Any] = {
            "selection": first.selection,
            "selections": first.selections,
            "first_logprobs": first.first_logprobs,
        }
        return replace(value, **same)
    if isinstance(value, list | tuple):
        return type(value)(expanded(item, image_of) for item in value)
    return value


def _without_constants(answer: Answer) -> Answer:
    return replace(answer, selection=cast(Selection, None), selections=(), first_logprobs=None)
