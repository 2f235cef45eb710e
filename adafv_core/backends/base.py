"""The interface that the page, the study and the timing use to run a model, wherever it runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import torch

from adafv_core.engine.gate import Stop
from adafv_core.engine.request import Request
from adafv_core.types import Answer, Selection, TokenScores, VisualTokens

Turns = Sequence[tuple[str, str]]


@runtime_checkable
class Backend(Protocol):
    """A loaded model that encodes, scores, selects and answers; `adafv_core.engine.Engine` is the local one.

    Calls may come from any thread; they take turns. Arguments, results and errors are those of `Engine`.
    """

    @property
    def name(self) -> str:
        """ "pocket", a hub id, or a folder."""
        ...

    @property
    def model_class(self) -> str:
        """Name of the transformers class."""
        ...

    @property
    def revision(self) -> str | None:
        """The commit of its files on the Hub, None for a local folder."""
        ...

    @property
    def weights(self) -> str:
        """A short key of the checkpoint's weights, identical for every copy."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of its weights."""
        ...

    def encode(self, image: object, *, stop: Stop = None) -> VisualTokens: ...

    def encode_many(self, images: Iterable[object], *, stop: Stop = None) -> list[VisualTokens]: ...

    def clear_cache(self) -> None: ...

    def score(
        self,
        visual_tokens: object,
        prompt: str,
        history: Turns = (),
        temperature: float = 100.0,
        *,
        stop: Stop = None,
    ) -> TokenScores: ...

    def select(
        self,
        scores: TokenScores,
        request: Request | float | None = None,
        method: str | None = None,
        *,
        stop: Stop = None,
        **fields: Any,
    ) -> Selection: ...

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
    ) -> Iterator[Answer]: ...

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
    ) -> Answer: ...

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
    ) -> list[Answer]: ...
