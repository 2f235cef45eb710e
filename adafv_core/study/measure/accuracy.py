"""Whether an answer is right."""

from __future__ import annotations

import re
from collections.abc import Sequence

_ARTICLES = frozenset({"a", "an", "the"})
_NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS = {word: str(number) for number, word in enumerate(_NUMBER_WORDS)} | {"none": "0"}
_PUNCTUATION = re.compile(r"[^\w\s]|_")


def plain(text: str) -> str:
    """An answer as it is compared: lower case, without punctuation and articles, number words as digits."""
    words = _PUNCTUATION.sub(" ", text.lower()).split()
    return " ".join(_NUMBERS.get(word, word) for word in words if word not in _ARTICLES)


def score_answer(text: str, answers: Sequence[str]) -> float:
    """How right an answer is, 0 to 1.

    answers: accepted answers. One or two: 1 where the answer equals one of them. Three or more are taken as answers
    of different people, and the score is VQA's: the mean over leaving each one out of min(1, matches / 3). Where
    only yes and no are accepted, the first word decides, so that "Yes, there is." counts as yes.
    """
    if not answers:
        raise ValueError("an answer can only be judged against at least one accepted answer")
    wanted = [plain(answer) for answer in answers]
    given = plain(text)
    if set(wanted) <= {"yes", "no"}:
        given = given.split(" ")[0]
    matches = [given == one for one in wanted]
    if len(wanted) < 3:
        return float(any(matches))
    total = sum(matches)
    return sum(min(1.0, (total - match) / 3) for match in matches) / len(wanted)
