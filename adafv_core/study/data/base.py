"""What a study asks about: questions, the pictures they belong to, and where the objects they name lie."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True)
class Item:
    """One question about one picture.

    key: unique in its data set. image: key of the picture. answers: accepted answers, () where none is known (then
    only its alignment is measured). family: what kind of question it is; group: a finer kind where there is one
    ("existence yes"), else "". named: ids of the objects the text names. needed: ids of all the objects the answer
    depends on; the oracle keeps their tokens first.
    """

    key: str
    image: str
    question: str
    answers: tuple[str, ...]
    family: str
    group: str = ""
    named: tuple[int, ...] = ()
    needed: tuple[int, ...] = ()


class DataSet(ABC):
    """A fixed list of questions with their pictures.

    name: short, without any path. items: in the order in which they are asked, those of a picture together.
    has_objects: whether objects are known, so that figures 2 to 4, `oracle` and `blind` can be made.
    """

    name: str
    items: tuple[Item, ...]
    has_objects: bool = True

    @abstractmethod
    def picture(self, image: str) -> Image.Image:
        """The RGB picture of that key. Raises ImageError where it cannot be read."""

    def object_ids(self, image: str) -> tuple[int, ...]:
        """Ids of all known objects in the picture."""
        return ()

    def object_mask(self, image: str, object_id: int) -> NDArray[np.float32]:
        """(height, width) float32 in 0..1, in pixels of the picture: where the object is."""
        raise KeyError(object_id)

    def fingerprint(self) -> str:
        """A hash of all questions, accepted answers and objects: two runs mix only where it is the same."""
        digest = hashlib.sha256(self.name.encode())
        for item in self.items:
            digest.update(repr(item).encode())
        return digest.hexdigest()[:16]


def images_of(items: Sequence[Item]) -> list[str]:
    """Picture keys in the order in which they first come."""
    return list(dict.fromkeys(item.image for item in items))
