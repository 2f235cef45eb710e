"""A `Backend` whose model runs in another process: the calls are sent there, and values on the CPU come back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, cast

import torch

from adafv_core.engine.backend import Backend
from adafv_core.engine.gate import Stop, StopSignal, stop_signal
from adafv_core.engine.request import Request
from adafv_core.engine.several_images import check_several, select_images
from adafv_core.engine.streaming import from_worker
from adafv_core.errors import InputError, StoppedError
from adafv_core.images import read_picture
from adafv_core.methods.base import check_scored
from adafv_core.models.prompts import Turn
from adafv_core.types import Answer, Selection, TokenScores, VisualTokens


@dataclass(frozen=True)
class ModelFacts:
    """What a `Backend` says about its model; plain values that can be pickled."""

    name: str
    model_class: str
    revision: str | None
    weights: str
    device: torch.device
    dtype: torch.dtype
    kept_pixels: int | None


def facts_of(engine: Backend) -> ModelFacts:
    """The facts of a loaded model."""
    return ModelFacts(
        engine.name,
        engine.model_class,
        engine.revision,
        engine.weights,
        torch.device(engine.device),
        engine.dtype,
        engine.kept_pixels,
    )


class RemoteEngine(Backend):
    """A `Backend` over `_values`, which carries a call out in another process. All returned tensors are on the CPU.

    A method that selects before the LLM selects here, from the scores, unless its budget depends on the LLM.
    """

    def __init__(self, facts: ModelFacts) -> None:
        self.name, self.revision, self.weights = facts.name, facts.revision, facts.weights
        self.model_class, self.device, self.dtype = facts.model_class, facts.device, facts.dtype
        self.kept_pixels = facts.kept_pixels

    @abstractmethod
    def _values(self, call: str, stops: Sequence[Stop], *arguments: Any, **options: Any) -> Generator[Any, None, None]:
        """Carry out `Engine.<call>` and yield its value, or each snapshot of `stream`.

        stops: give up waiting with StoppedError. Closing the generator ends the work. Raises what the call raises.
        """

    def _encode_many(self, images: list[object], together: bool, stop: Stop) -> list[VisualTokens]:
        return cast("list[VisualTokens]", self._value("encode_many", stop, _readable(images), together))

    def _score_many(
        self, images: list[object], prompt: str, history: Sequence[Turn], temperature: float, stop: Stop
    ) -> list[TokenScores]:
        asked = _readable(images)
        return cast("list[TokenScores]", self._value("score_many", stop, asked, prompt, tuple(history), temperature))

    def _select_many(self, scores: list[TokenScores], request: Request, stop: Stop) -> list[Selection]:
        for one in scores:
            check_scored(one)
            if one.visual.model_key not in ("", self.weights):
                raise InputError(f"These scores are of another model than {self.name}; score the image with this one.")
        check_several(request, len(scores))
        if not request.chooser.inside_llm and request.flops_ratio is None:
            budgets = request.budgets_by_size([one.size for one in scores])
            return list(select_images(scores, request.share, budgets, request.select))
        return cast("list[Selection]", self._value("select_many", stop, scores, request))

    def _stream(
        self, image: object, prompt: str | None, request: Request, history: Sequence[Turn], stop: Stop
    ) -> Iterator[Answer]:
        subject = _readable(image)
        closed = StopSignal()
        stopped = stop_signal(stop, closed)

        def work(emit: Callable[[Answer], None]) -> None:
            try:
                with closing(
                    self._values("stream", (stop, closed), subject, prompt, request, history=tuple(history))
                ) as values:
                    for value in values:
                        emit(value)
                        if stopped():
                            return
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
        pairs = [(_readable(image), prompt) for image, prompt in questions]
        options = {"batch_size": batch_size, "selections": [made or None for made in selections], "drafts": drafts}
        return cast("list[Answer]", self._value("answer_batch", stop, pairs, request, **options))

    def _value(self, call: str, stop: Stop, *arguments: Any, **options: Any) -> Any:
        with closing(self._values(call, (stop,), *arguments, **options)) as values:
            return next(values)


def _readable(image: object) -> object:
    """A picture as a value with the key of its content: a path may mean nothing to the other process. Lists keep
    their order.
    """
    if isinstance(image, list | tuple):
        return [_readable(one) for one in image]
    return image if isinstance(image, VisualTokens | TokenScores) else read_picture(image)


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
