"""Finds the user's own words in a tokenized prompt, from token ids alone.

The drop-in context manager sees only ids, and the prompt may not be one that the chat template would write: images may
stand behind or between the words, and the answer may be begun. So only the short markers that open a user turn and an
answer ("USER:" and "ASSISTANT:", "<|im_start|>user" and "<|im_end|><|im_start|>assistant", …) are taken from the
template, by rendering it once around known texts, and looked for in the decoded prompt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property

from adafv_core.errors import PromptError
from adafv_core.models.prompts import Prompter

_QUESTION, _ANSWER = "\ue0f2", "\ue0f3"


class QuestionFinder:
    """Finds the tokens of the current question, the last user turn, wherever they stand in the prompt.

    prompter: that of the model's processor. Prompts written with another template are understood as far as they share
    its markers: tokens that cannot be attributed to the template count as question tokens.
    """

    def __init__(self, prompter: Prompter) -> None:
        self.prompter = prompter
        self._pieces: dict[int, str] = {}

    def __call__(self, ids: Sequence[int]) -> tuple[bool, ...]:
        """One flag per token id: whether it holds a piece of the current question. At least one is set.

        ids: the whole prompt without padding; image placeholders never count. Special tokens, white space, the
        template's words, earlier turns and the beginning of an answer do not count either.
        """
        ends, text = [], ""
        for one in ids:
            text += self._piece(one)
            ends.append(len(text))
        start, end = self._question(text)
        idle = [self.prompter.is_idle(one) for one in ids]
        starts = [0, *ends[:-1]]
        flags = tuple(
            left < end and right > start and not skipped
            for left, right, skipped in zip(starts, ends, idle, strict=True)
        )
        if not any(flags):
            flags = tuple(not skipped for skipped in idle)
        return flags if any(flags) else (True,) * len(idle)

    def _piece(self, token_id: int) -> str:
        """What a token decodes to, without white space: tokenizers differ in where they put it."""
        if token_id not in self._pieces:
            is_image = token_id == self.prompter.image_token_id
            self._pieces[token_id] = "" if is_image else _squeezed(self.prompter.tokenizer.decode([token_id]))
        return self._pieces[token_id]

    def _question(self, text: str) -> tuple[int, int]:
        """Start and end of the last user turn in a decoded prompt without white space."""
        lead, first, following, answers = self._markers
        start = len(lead) if not first and text.startswith(lead) else 0
        if first and first in text:
            start = text.index(first) + len(first)
        # A prompt usually ends where the answer begins; then the same marker within the user's text means nothing.
        closing = next((len(text) - len(one) for one in answers if text.endswith(one)), None)
        limit = len(text) if closing is None else closing
        while True:
            found = [(text.index(one, start, limit), len(one)) for one in answers if text.find(one, start, limit) >= 0]
            if not found:
                return start, limit
            answer, length = min(found, key=lambda place: (place[0], -place[1]))
            turn = text.find(following, answer + length, limit) if following else -1
            if turn < 0:
                return start, answer if closing is None else closing
            start = turn + len(following)

    @cached_property
    def _markers(self) -> tuple[str, str, str, tuple[str, ...]]:
        """What stands before the first user text; what opens the first user turn, and a later one; what ends a user
        turn and opens an answer, longest first. All without white space and image tokens.
        """
        lead, tail = self._rendered(())
        try:
            _, middle, between, _ = self._rendered(((_QUESTION, _ANSWER),))
        except PromptError:  # a template for one turn only
            middle, between = tail, lead
        later = self._units(between)
        # Special tokens around an image stand in the first turn alone.
        here = [unit for unit in self._units(lead) if unit not in self._special or unit in later]
        opening = self._shortest_distinct(self._common_end(here, later), self._units(middle))
        first = "".join(opening)
        answers = sorted({one for one in (tail, middle) if one}, key=len, reverse=True)
        return lead, first, first or between, tuple(answers)

    def _rendered(self, history: Sequence[tuple[str, str]]) -> list[str]:
        """The template's text around a question after these turns."""
        text = self.prompter.render(_QUESTION, history).replace(self.prompter.image_token, "")
        return [_squeezed(piece) for piece in re.split(f"[{_QUESTION}{_ANSWER}]", text)]

    @cached_property
    def _special(self) -> set[str]:
        return {_squeezed(one) for one in self.prompter.protected.values()} - {""}

    def _units(self, text: str) -> list[str]:
        """Cut into special tokens and what stands between them."""
        tokens = sorted(self._special, key=len, reverse=True)
        cuts = "|".join(re.escape(one) for one in tokens)
        return [unit for unit in (re.split(f"({cuts})", text) if cuts else [text]) if unit]

    def _common_end(self, one: list[str], other: list[str]) -> list[str]:
        """The units that two texts end with alike; of the first two that differ, the characters they share."""
        count = _shared_end(one, other)
        shared = one[len(one) - count :]
        if count < min(len(one), len(other)) and not self._special & {one[-1 - count], other[-1 - count]}:
            last = one[-1 - count]
            shared = [last[len(last) - _shared_end(last, other[-1 - count]) :], *shared]
        return [unit for unit in shared if unit]

    def _shortest_distinct(self, opening: list[str], answer: list[str]) -> list[str]:
        """The shortest end of a user turn's opening that starts with a special token and opens no answer."""
        ends = (opening[-count:] for count in range(1, len(opening) + 1))
        return next((end for end in ends if end[0] in self._special and answer[-len(end) :] != end), opening)


def _shared_end(one: Sequence[str], other: Sequence[str]) -> int:
    """How many items two sequences have in common at their ends."""
    pairs = zip(reversed(one), reversed(other), strict=False)
    return next((count for count, (left, right) in enumerate(pairs) if left != right), min(len(one), len(other)))


def _squeezed(text: str) -> str:
    return "".join(str(text).split())
