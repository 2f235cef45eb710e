"""Several questions about the same images, one after another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from adafv_core.engine.backend import Backend
from adafv_core.engine.question import images_of
from adafv_core.engine.request import Request
from adafv_core.errors import StoppedError
from adafv_core.models.prompts import Turn
from adafv_core.types import Answer


class Conversation:
    """Questions about one image, or several, in turn. Tokens are selected anew for each one, from the full cached set.

    visuals: the encoded images. turns: the (question, answer) pairs so far; a stopped answer counts as far as it came.
    """

    def __init__(self, engine: Backend, image: object) -> None:
        self.engine = engine
        self.visuals = engine.encode_many(images_of(image), together=True)
        self.turns: list[Turn] = []

    def ask(self, prompt: str, request: Request | float | None = None, **fields: Any) -> Answer:
        """Answer the next question. request, fields: as in `Engine.answer`. Raises what that raises."""
        last: Answer | None = None
        for snapshot in self.stream(prompt, request, **fields):
            last = snapshot
        if last is None:
            raise StoppedError("The run was stopped before it began; ask again.")
        return last

    def stream(self, prompt: str, request: Request | float | None = None, **fields: Any) -> Iterator[Answer]:
        """Snapshots of the answer to the next question; the turn is recorded once the last one was taken.

        request, fields: as in `Engine.stream`. Raises what that raises.
        """
        last: Answer | None = None
        for snapshot in self.engine.stream(self.visuals, prompt, request, history=tuple(self.turns), **fields):
            last = snapshot
            yield snapshot
        if last is not None:
            self.turns.append((prompt, last.text))
