"""Matches the questions of a data set with those already in a results file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from adafv_core.study.data.base import Item


class KnownQuestions:
    """The questions of a results file, each matched with at most one question of a data set.

    Two questions are the same if their text, accepted answers and picture content are, whatever their position and the
    picture's name. Lines of version 0.1 have no id: they match by text, accepted answers, the picture's name without
    folders, and their key.
    """

    def __init__(self, lines: Iterable[dict[str, Any]]) -> None:
        self._by_id: defaultdict[str, list[int]] = defaultdict(list)
        self._without_id: defaultdict[tuple[object, ...], list[int]] = defaultdict(list)
        self._next = 0
        for line in lines:
            self._next = max(self._next, line["q"] + 1)
            if "id" in line:
                self._by_id[line["id"]].append(line["q"])
            else:
                self._without_id[_facts(line["key"], line["image"], line["question"], line["answers"])].append(
                    line["q"]
                )

    def number_of(self, question_id: str, item: Item) -> int:
        """The question's number in the file, or the next free one if it is new."""
        facts = _facts(item.key, item.image, item.question, item.answers)
        for known in (self._by_id.get(question_id), self._without_id.get(facts)):
            if known:
                return known.pop(0)
        self._next += 1
        return self._next - 1


def _facts(key: str, image: str, question: str, answers: Iterable[str]) -> tuple[object, ...]:
    # The keys of 0.1's questions of existence begin with the picture's name, which had no folders.
    return PurePosixPath(key).name, PurePosixPath(image).name, question, tuple(answers)
