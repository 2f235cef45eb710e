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
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast
from weakref import WeakValueDictionary

try:
    import spaces
except ImportError:
    spaces = None


from adafv_core.backends.remote import moved
from adafv_core.engine import Engine
from adafv_core.engine.backend import Backend
from adafv_core.engine.gate import Gate, Stop, StopSignal, stop_signal
from adafv_core.engine.request import Request
from adafv_core.engine.streaming import from_worker
from adafv_core.errors import AdaFVError, ModelError, StoppedError
from adafv_core.models.prompts import Turn
from adafv_core.types import Answer, Selection, TokenScores, VisualTokens

_log = logging.getLogger(__name__)

_LONGEST_S = 120
_BASE_S = {"encode_many": 15, "score_many": 15, "select_many": 15, "stream": 20, "answer_batch": 40}
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
    tokens = 0 if call == "select_many" else tokens
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


class ZeroGpuEngine(Backend):
    """A `Backend` that requests the GPU for each call. All returned tensors are on the CPU.

    A stop signal does not reach the other process; this one checks it between the values that arrive.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        # Not the model's own gate: the other process is forked while this one is held, and would find that one taken.
        self.gate = Gate()
        _ENGINES[engine.name] = engine
        self.name, self.revision, self.weights = engine.name, engine.revision, engine.weights
        self.model_class, self.device, self.dtype = engine.model_class, engine.device, engine.dtype

    def clear_cache(self) -> None:
        """`Engine.clear_cache`; the other process keeps its own bounded cache for as long as it lives."""
        self.engine.clear_cache()

    def _encode_many(self, images: list[object], together: bool, stop: Stop) -> list[VisualTokens]:
        return cast("list[VisualTokens]", self._value("encode_many", stop, images, together))

    def _score_many(
        self, images: list[object], prompt: str, history: Sequence[Turn], temperature: float, stop: Stop
    ) -> list[TokenScores]:
        return cast("list[TokenScores]", self._value("score_many", stop, images, prompt, history, temperature))

    def _select_many(self, scores: list[TokenScores], request: Request, stop: Stop) -> list[Selection]:
        """Requests the GPU only for a method that decides inside the LLM."""
        if not request.chooser.inside_llm:
            return self.engine.select_many(scores, request, stop=stop)
        return cast("list[Selection]", self._value("select_many", stop, scores, request))

    def _stream(
        self, image: object, prompt: str | None, request: Request, history: Sequence[Turn], stop: Stop
    ) -> Iterator[Answer]:
        closed = StopSignal()
        stopped = stop_signal(stop, closed)

        def work(emit: Callable[[Answer], None]) -> None:
            try:
                with self.gate.turn(stop, closed):
                    values = self._values("stream", image, prompt, request, history=history)
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

    def _answer_batch(
        self,
        questions: list[tuple[object, str]],
        request: Request,
        batch_size: int,
        selections: list[tuple[Selection, ...]],
        drafts: list[tuple[int, ...] | None],
        stop: Stop,
    ) -> list[Answer]:
        options = {"batch_size": batch_size, "selections": [made or None for made in selections], "drafts": drafts}
        return cast("list[Answer]", self._value("answer_batch", stop, questions, request, **options))

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
