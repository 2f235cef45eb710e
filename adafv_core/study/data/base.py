"""Data sets for studies: questions, their pictures, and the locations of the objects they name."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True)
class Item:
    """One question about one picture.

    key: unique in its data set. image: key of the picture. answers: accepted answers, () if unknown (then only
    alignment is measured). family: the kind of question; group: a finer kind ("existence yes") or "". named: ids of
    the objects that the text names. needed: ids of all objects that the answer depends on; the oracle keeps their
    tokens first.
    """

    key: str
    image: str
    question: str
    answers: tuple[str, ...]
    family: str
    group: str = ""
    named: tuple[int, ...] = ()
    needed: tuple[int, ...] = ()


@dataclass(frozen=True)
class Omission:
    """Something that a study left out.

    where: a place in a file ("notes.json, annotations[3].bbox"), a picture or a question. why: one sentence.
    """

    where: str
    why: str


class DataSet(ABC):
    """A fixed list of questions with their pictures.

    name: short, without a path. items: in the order of asking, grouped by picture. has_objects: whether objects are
    known, as figures 2 to 4, `oracle` and `blind` require. omissions: entries of the user's files that could not be
    used. notes: what was assumed about the data, a sentence each.
    """

    name: str
    items: tuple[Item, ...]
    has_objects: bool = True
    omissions: tuple[Omission, ...] = ()
    notes: tuple[str, ...] = ()

    @abstractmethod
    def picture(self, image: str) -> Image.Image:
        """The RGB picture with that key. Raises ImageError if it cannot be read."""

    @abstractmethod
    def picture_id(self, image: str) -> str:
        """A hash of the picture's content: answers remain valid while it is unchanged. Raises ImageError."""

    def object_ids(self, image: str) -> tuple[int, ...]:
        """Ids of all known objects in the picture."""
        return ()

    def object_mask(self, image: str, object_id: int) -> NDArray[np.float32]:
        """(height, width) float32 in 0..1, in pixels of the picture: where the object is."""
        raise KeyError(object_id)

    def objects_id(self, image: str) -> str:
        """A hash of the locations of the picture's objects; "" if the picture determines them, or none are known."""
        return ""

    def question_id(self, item: Item) -> str:
        """A hash of question, accepted answers and picture content, independent of the rest of the set."""
        text = repr((item.question, item.answers, self.picture_id(item.image)))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def fingerprint(self) -> str:
        """A hash of all questions, accepted answers and object ids."""
        digest = hashlib.sha256(self.name.encode())
        for item in self.items:
            digest.update(repr(item).encode())
        return digest.hexdigest()[:16]


def images_of(items: Sequence[Item]) -> list[str]:
    """Picture keys in order of first appearance."""
    return list(dict.fromkeys(item.image for item in items))


def unique_keys(items: Sequence[Item]) -> tuple[Item, ...]:
    """The items, with a number appended to each key that an earlier item already has."""
    taken: set[str] = set()
    found = []
    for item in items:
        key, copies = item.key, 1
        while key in taken:
            copies += 1
            key = f"{item.key} ({copies})"
        taken.add(key)
        found.append(item if key == item.key else replace(item, key=key))
    return tuple(found)
