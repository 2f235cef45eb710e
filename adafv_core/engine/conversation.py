"""Several questions about one image, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from adafv_core.errors import ModelError
from adafv_core.models.prompts import Turn
from adafv_core.types import Answer


class Conversation:
    """Questions about one image in turn. Tokens are selected anew for each question, from the full cached
    set.

    turns: the (question, answer) pairs so far; a stopped answer counts as far as it came.
    """

    def __init__(self, engine: Any, image: object) -> None:
        self.engine = engine
        self.visual = engine.encode(image)
        self.turns: list[Turn] = []

    def ask(self, prompt: str, keep_ratio: float | None = None, **options: Any) -> Answer:
        """The answer to the next question. options: as in `Engine.stream`. Raises what `Engine.answer` raises."""
        last: Answer | None = None
        for snapshot in self.stream(prompt, keep_ratio, **options):
            last = snapshot
        if last is None:
            raise ModelError("The run was stopped before it began; ask again.")
        return last

    def stream(self, prompt: str, keep_ratio: float | None = None, **options: Any) -> Iterator[Answer]:
        """Snapshots of the answer to the next question; the turn is recorded when the last one was taken.

        options: as in `Engine.stream`. Raises what that raises.
        """
        last: Answer | None = None
        for snapshot in self.engine.stream(self.visual, prompt, keep_ratio, history=tuple(self.turns), **options):
            last = snapshot
            yield snapshot
        if last is not None:
            self.turns.append((prompt, last.text))
