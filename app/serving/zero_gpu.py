"""ZeroGPU Spaces: the model's work as one GPU function, which runs in a forked process; elsewhere nothing changes.

Import this before anything that imports torch: the `spaces` package has to come first. On ZeroGPU the GPU is there
only inside the decorated function, its arguments and values travel between processes, and what it changes there is
lost. So it finds its engine by name in this module, takes and yields values on the CPU, and yields after each token.
The process is kept from call to call and knows only the models that were there when it began: the one a Space starts
with, no other.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, cast
from weakref import WeakValueDictionary

try:
    import spaces
except ImportError:
    spaces = None

from adafv_core.errors import AdaFVError, ModelError
from app.serving.jobs import Engine

_log = logging.getLogger(__name__)

_LONGEST_S = 120
_BASE_S = {"encode": 15, "encode_many": 15, "score": 15, "select": 15, "stream": 20, "answer": 20, "answer_batch": 40}
_TOKENS_PER_S = 10
_ENGINES: WeakValueDictionary[str, Any] = WeakValueDictionary()


def on_zero_gpu() -> bool:
    """Whether this is a ZeroGPU Space."""
    return spaces is not None and os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def for_this_machine(engine: Engine) -> Engine:
    """The engine itself, or on ZeroGPU one whose work runs in the GPU function."""
    return cast(Engine, ZeroGpuEngine(engine)) if on_zero_gpu() else engine


def duration_s(name: str, call: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> int:
    """Seconds of GPU to ask for: a base for the kind of work, and a share for each token the answer may have."""
    tokens = options.get("max_new_tokens", 64) if call in ("stream", "answer", "answer_batch") else 0
    questions = len(arguments[0]) if call == "answer_batch" else 1
    return min(_LONGEST_S, _BASE_S[call] + -(-questions * tokens // _TOKENS_PER_S))


def _work(name: str, call: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Iterator[Any]:
    engine = _ENGINES[name]
    try:
        arguments, options = moved(arguments, engine.device), moved(options, engine.device)
        result = getattr(engine, call)(*arguments, **options)
        for value in result if call == "stream" else (result,):
            yield moved(value, "cpu")
    except AdaFVError as error:
        yield error


on_gpu: Callable[..., Iterator[Any]] = spaces.GPU(_work, duration=duration_s) if spaces is not None else _work


class ZeroGpuEngine:
    """An engine with the same calls, each of which asks for the GPU. Everything it hands out lies on the CPU."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        _ENGINES[engine.name] = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def encode(self, image: object) -> Any:
        """`Engine.encode`."""
        return self._one("encode", image)

    def encode_many(self, images: Any) -> Any:
        """`Engine.encode_many`."""
        return self._one("encode_many", images)

    def score(self, visual_tokens: Any, prompt: str, *arguments: Any, **options: Any) -> Any:
        """`Engine.score`."""
        return self._one("score", visual_tokens, prompt, *arguments, **options)

    def select(
        self, scores: Any, keep_ratio: float | None = None, method: str = "adafv", *arguments: Any, **options: Any
    ) -> Any:
        """`Engine.select`; asks for the GPU only where the method decides inside the LLM."""
        from adafv_core.methods import METHODS

        arguments = (keep_ratio, method, *arguments)
        if method in METHODS and METHODS[method].inside_llm:
            return self._one("select", scores, *arguments, **options)
        return self.engine.select(scores, *arguments, **options)

    def stream(self, image: object, prompt: str, *arguments: Any, stop: Any = None, **options: Any) -> Iterator[Any]:
        """`Engine.stream`; a stop signal is looked at here, since it does not reach the other process."""
        asked = stop if callable(stop) else stop.is_set if stop is not None else bool
        values = self._values("stream", image, prompt, *arguments, **options)
        try:
            for value in values:
                yield value
                if asked():
                    return
        finally:
            values.close()

    def answer(self, image: object, prompt: str, *arguments: Any, **options: Any) -> Any:
        """`Engine.answer`."""
        *_, last = self.stream(image, prompt, *arguments, **options)
        return last

    def answer_batch(self, questions: Any, *arguments: Any, stop: Any = None, **options: Any) -> Any:
        """`Engine.answer_batch`."""
        return self._one("answer_batch", questions, *arguments, **options)

    def _one(self, call: str, *arguments: Any, **options: Any) -> Any:
        (value,) = self._values(call, *arguments, **options)
        return value

    def _values(self, call: str, *arguments: Any, **options: Any) -> Any:
        values = on_gpu(self.engine.name, call, moved(arguments, "cpu"), moved(options, "cpu"))
        try:
            for value in values:
                if isinstance(value, AdaFVError):
                    raise value
                yield value
        except AdaFVError:
            raise
        except Exception as error:
            if _gave_no_gpu(error):
                raise ModelError(f"ZeroGPU gave no GPU for this request ({error}): ask again in a moment.") from error
            _log.exception("the GPU function failed in %s", call)
            raise ModelError("The request failed on ZeroGPU; the Space's log says why. Ask again.") from error
        finally:
            values.close()


def _gave_no_gpu(error: Exception) -> bool:
    """Whether `spaces` refused the request: no quota, no GPU free, or a longer duration than is allowed.

    It raises gradio's Error with a title of its own; that of what went wrong inside the function is told apart.
    """
    title = str(getattr(error, "title", ""))
    return title.startswith("ZeroGPU") and title != "ZeroGPU worker error"


def moved(value: Any, device: Any) -> Any:
    """The same value with every tensor in it on that device."""
    import torch

    if isinstance(value, torch.Tensor):
        return value.to(device)
    if is_dataclass(value) and not isinstance(value, type):
        changes = {field.name: moved(getattr(value, field.name), device) for field in fields(value)}
        return replace(value, **changes)
    if isinstance(value, list | tuple):
        return type(value)(moved(item, device) for item in value)
    if isinstance(value, dict):
        return {key: moved(item, device) for key, item in value.items()}
    return value
