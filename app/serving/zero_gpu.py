"""ZeroGPU Spaces: runs all model work in one GPU function, in a forked process; a no-op everywhere else.

Import this before anything that imports torch: the `spaces` package must come first. On ZeroGPU a GPU is available only
inside the decorated function, whose arguments and values are passed between processes and whose side effects are lost.
The function therefore looks its engine up by name in this module, takes and yields values on the CPU, and yields after
each token. The process is reused between calls and knows only the models loaded before it was forked, which is the one
the Space starts with.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, cast
from weakref import WeakValueDictionary

try:
    import spaces
except ImportError:
    spaces = None

import torch

from adafv_core.backends.base import Backend, Turns
from adafv_core.engine import Engine
from adafv_core.engine.gate import Gate, Stop, StopSignal, stop_signal
from adafv_core.engine.request import Request, request_of
from adafv_core.engine.streaming import from_worker
from adafv_core.errors import AdaFVError, ModelError, StoppedError
from adafv_core.types import Answer, Selection, TokenScores, VisualTokens

_log = logging.getLogger(__name__)

_LONGEST_S = 120
_BASE_S = {"encode": 15, "encode_many": 15, "score": 15, "select": 15, "stream": 20, "answer": 20, "answer_batch": 40}
_TOKENS_PER_S = 10
_ENGINES: WeakValueDictionary[str, Any] = WeakValueDictionary()


def on_zero_gpu() -> bool:
    """Whether this is a ZeroGPU Space."""
    return spaces is not None and os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def for_this_machine(engine: Backend) -> Backend:
    """The engine itself; on ZeroGPU a wrapper that runs its work in the GPU function."""
    return ZeroGpuEngine(cast(Engine, engine)) if on_zero_gpu() else engine


def duration_s(name: str, call: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> int:
    """Seconds of GPU time to request: a base per kind of call, plus a share per token that the answer may have."""
    request = next((one for one in (*arguments, *options.values()) if isinstance(one, Request)), None)
    tokens = options.get("max_new_tokens", 0) if request is None else request.max_new_tokens
    tokens = 0 if call == "select" else tokens
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
    """A `Backend` that requests the GPU for each call. All returned tensors are on the CPU.

    A stop signal does not reach the other process; this one checks it between the values that arrive.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        # Not the model's own gate: the other process is forked while this one is held, and would find that one taken.
        self.gate = Gate()
        _ENGINES[engine.name] = engine

    @property
    def name(self) -> str:
        """`Engine.name`."""
        return self.engine.name

    @property
    def model_class(self) -> str:
        """`Engine.model_class`."""
        return self.engine.model_class

    @property
    def revision(self) -> str | None:
        """`Engine.revision`."""
        return self.engine.revision

    @property
    def weights(self) -> str:
        """`Engine.weights`."""
        return self.engine.weights

    @property
    def device(self) -> torch.device:
        """`Engine.device`."""
        return self.engine.device

    @property
    def dtype(self) -> torch.dtype:
        """`Engine.dtype`."""
        return self.engine.dtype

    def encode(self, image: object, *, stop: Stop = None) -> VisualTokens:
        """`Engine.encode`."""
        return cast(VisualTokens, self._value("encode", stop, image))

    def encode_many(self, images: Iterable[object], *, stop: Stop = None) -> list[VisualTokens]:
        """`Engine.encode_many`."""
        return cast("list[VisualTokens]", self._value("encode_many", stop, list(images)))

    def clear_cache(self) -> None:
        """`Engine.clear_cache`; the other process keeps its own bounded cache for as long as it lives."""
        self.engine.clear_cache()

    def score(
        self, visual_tokens: object, prompt: str, history: Turns = (), temperature: float = 100.0, *, stop: Stop = None
    ) -> TokenScores:
        """`Engine.score`."""
        return cast(TokenScores, self._value("score", stop, visual_tokens, prompt, history, temperature))

    def select(
        self,
        scores: TokenScores,
        request: Request | float | None = None,
        method: str | None = None,
        *,
        stop: Stop = None,
        **fields: Any,
    ) -> Selection:
        """`Engine.select`; requests the GPU only for a method that decides inside the LLM."""
        asked = request_of(request, method, **fields)
        if not asked.chooser.inside_llm:
            return self.engine.select(scores, asked, stop=stop)
        return cast(Selection, self._value("select", stop, scores, asked))

    def stream(
        self,
        image: object,
        prompt: str | None = None,
        request: Request | float | None = None,
        method: str | None = None,
        max_new_tokens: int | None = None,
        *,
        stop: Stop = None,
        history: Turns = (),
        **fields: Any,
    ) -> Iterator[Answer]:
        """`Engine.stream`."""
        asked = request_of(request, method, max_new_tokens, **fields)
        closed = StopSignal()
        stopped = stop_signal(stop, closed)

        def work(emit: Callable[[Answer], None]) -> None:
            try:
                with self.gate.turn(stop, closed):
                    values = self._values("stream", image, prompt, asked, history=tuple(history))
                    try:
                        for value in values:
                            emit(value)
                            if stopped():
                                return
                    finally:
                        values.close()
            except StoppedError:
                return

        yield from from_worker(work, closed)

    def answer(
        self,
        image: object,
        prompt: str | None = None,
        request: Request | float | None = None,
        method: str | None = None,
        max_new_tokens: int | None = None,
        *,
        stop: Stop = None,
        history: Turns = (),
        **fields: Any,
    ) -> Answer:
        """`Engine.answer`."""
        asked = request_of(request, method, max_new_tokens, **fields)
        answers = list(self.stream(image, prompt, asked, stop=stop, history=history))
        if not answers:
            raise StoppedError("The run was stopped before it began; ask again.")
        return answers[-1]

    def answer_batch(
        self,
        questions: Iterable[tuple[object, str]],
        request: Request | float | None = None,
        method: str | None = None,
        max_new_tokens: int | None = None,
        *,
        batch_size: int = 16,
        selections: Iterable[Selection | None] | None = None,
        stop: Stop = None,
        **fields: Any,
    ) -> list[Answer]:
        """`Engine.answer_batch`."""
        asked = request_of(request, method, max_new_tokens, **fields)
        given = None if selections is None else list(selections)
        options = {"batch_size": batch_size, "selections": given}
        return cast("list[Answer]", self._value("answer_batch", stop, list(questions), asked, **options))

    def _value(self, call: str, stop: Stop, *arguments: Any, **options: Any) -> Any:
        with self.gate.turn(stop):
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
    """Whether `spaces` refused the request: no quota left, no GPU free, or a duration above the limit.

    It then raises gradio's Error with its own title; errors inside the function have a different title.
    """
    title = str(getattr(error, "title", ""))
    return title.startswith("ZeroGPU") and title != "ZeroGPU worker error"


def moved(value: Any, device: Any) -> Any:
    """The value with every tensor in it, at any depth, moved to the device."""
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if is_dataclass(value) and not isinstance(value, type):
        changes = {field.name: moved(getattr(value, field.name), device) for field in fields(value) if field.init}
        return replace(value, **changes)
    if isinstance(value, list | tuple):
        return type(value)(moved(item, device) for item in value)
    if isinstance(value, dict):
        return {key: moved(item, device) for key, item in value.items()}
    return value
