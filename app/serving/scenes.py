"""Scenes drawn for the page, as files, and the keys that identify their pictures."""

from __future__ import annotations

import random
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path

from cachetools import LRUCache
from PIL import Image

from adafv_core.images import read_picture
from adafv_core.pocket.world.drawing import draw_scene
from adafv_core.pocket.world.questions import ask
from adafv_core.pocket.world.scenes import make_scene
from adafv_core.pocket.world.world import SPLIT_SIZE, seed_in

SPLIT = "showcase"
FIRST_INDEX = 7
_FAMILIES = ("attribute", "relation", "salient", "existence", "reading", "counting", "location")
_MOST_KNOWN = 20_000


@dataclass(frozen=True)
class ShownScene:
    """A scene on disk. questions: (text, correct answer) pairs, one of each kind that the scene allows."""

    seed: int
    path: Path
    picture: Image.Image
    questions: tuple[tuple[str, str], ...]


class SceneFolder:
    """Draws scenes of the showcase split into a folder and remembers their pictures' keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: LRUCache[str, int] = LRUCache(_MOST_KNOWN)
        self._lock = threading.Lock()

    def scene(self, index: int) -> ShownScene:
        """The scene at an index of the showcase split, with questions about it."""
        seed = seed_in(SPLIT, index)
        scene = make_scene(seed)
        picture = draw_scene(scene)
        path = self.folder / f"scene-{index}.png"
        if not path.exists():
            unfinished = self.folder / f".{secrets.token_hex(8)}.png"
            picture.save(unfinished)
            unfinished.replace(path)
        with self._lock:
            self._known[read_picture(picture).key] = index
        return ShownScene(seed, path, picture, _questions(seed))

    def new_scene(self) -> ShownScene:
        """A random scene."""
        return self.scene(secrets.randbelow(SPLIT_SIZE - 1000) + 1000)

    def correct_answer(self, index: int | None, prompt: str) -> str | None:
        """The right answer to a question about the scene at this index; None for one that it does not come with."""
        if index is None:
            return None
        return dict(_questions(seed_in(SPLIT, index))).get(prompt)

    def index_of(self, key: str) -> int | None:
        """The index of the scene whose picture has this key, if it was drawn here."""
        return self._known.get(key)


def _questions(seed: int) -> tuple[tuple[str, str], ...]:
    """(text, correct answer) pairs about a scene, one of each kind that it allows."""
    scene, rng = make_scene(seed), random.Random(seed)
    found = [ask(scene, family, rng) for family in _FAMILIES]
    return tuple((one.text, one.answer) for one in found if one is not None)
