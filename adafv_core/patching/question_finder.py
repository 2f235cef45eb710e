"""Which tokens of a ready-made prompt are the user's own words, told from token ids alone.

The drop-in context manager sees only ids. What the chat template puts around a question is found once, by
building prompts about known questions with the same tokenizer and template; it is then looked for in the
ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from adafv_core.models.prompts import Prompter

_PROBES = ("What is it?", "Is it red.", "name the color", "7 x")


class QuestionFinder:
    """Finds the current question among the tokens after the image.

    prompter: of the model's processor. Prompts written with another template are understood as far as they
    agree with it: what cannot be told from the user's words counts as such.
    """

    def __init__(self, prompter: Prompter) -> None:
        self.prompter = prompter

    def __call__(self, text_ids: Sequence[int]) -> tuple[bool, ...]:
        """One flag a token: whether it is a piece of the current question. At least one is set."""
        ids = list(text_ids)
        heads, tails = self._around
        start = max(_shared(head, ids) for head in heads)
        end = len(ids) - max(_shared(tail[::-1], ids[start:][::-1]) for tail in tails)
        for turn in self._between:
            places = [at for at in range(start, end - len(turn)) if ids[at : at + len(turn)] == turn]
            start = places[-1] + len(turn) if places else start
        flags = [start <= at < end and not self.prompter.is_idle(one) for at, one in enumerate(ids)]
        if not any(flags):
            flags = [not self.prompter.is_idle(one) for one in ids]
        return tuple(flags) if any(flags) else (True,) * len(ids)

    @cached_property
    def _around(self) -> tuple[list[list[int]], list[list[int]]]:
        """The template's tokens between image and question, and after it, as different questions meet them."""
        heads, tails = [], []
        for question in _PROBES:
            prompt = self.prompter(question)
            ids, flags = list(prompt.text_ids), list(prompt.counted)
            heads.append(ids[: flags.index(True)])
            tails.append(ids[len(ids) - flags[::-1].index(True) :])
        return heads, tails

    @cached_property
    def _between(self) -> list[list[int]]:
        """The template's tokens between an answer and the next question, where they are telling."""
        found = []
        for answer in _PROBES:
            prompt = self.prompter(answer, [(answer, answer)])
            ids, slots = list(prompt.text_ids), prompt.slots
            last = max(place for place, slot in enumerate(slots) if slot == 1)
            turn = ids[last + 1 : slots.index(2)]
            if len(turn) > 1 or any(one in self.prompter.protected for one in turn):
                found.append(turn)
        return found


def _shared(one: list[int], other: list[int]) -> int:
    """How many tokens two lists have in common from the start."""
    count = 0
    while count < min(len(one), len(other)) and one[count] == other[count]:
        count += 1
    return count
