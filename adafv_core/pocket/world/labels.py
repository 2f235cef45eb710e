"""Ground-truth labels of the things in a scene, as class indices for the training heads."""

from __future__ import annotations

import torch
from torch import Tensor

from adafv_core.pocket.world.scenes import Scene, place_of
from adafv_core.pocket.world.world import CARD, COLOR_NAMES, DIGITS, DIRECTIONS, KINDS, PLACES, SHAPES, Thing

IGNORE = -100
CLASSES: dict[str, int] = {
    "kind": len(KINDS),
    "color": len(COLOR_NAMES),
    "digit": len(DIGITS),
    "place": len(PLACES),
    "size": 2,
    "count": 4,
    **{direction: len(KINDS) + 1 for direction in DIRECTIONS},
}
"""Number of classes per label. A direction's classes are the kinds of the neighbor there; the last is "nothing"."""


def thing_labels(scenes: list[Scene]) -> dict[str, Tensor]:
    """Labels by name, each (B, M) int64 with one column per thing; IGNORE where the label does not apply."""
    most = max(len(scene.things) for scene in scenes)
    labels = {name: torch.full((len(scenes), most), IGNORE) for name in CLASSES}
    for row, scene in enumerate(scenes):
        for column, thing in enumerate(scene.things):
            for name, value in _labels_of(scene, thing).items():
                labels[name][row, column] = value
    return labels


def _labels_of(scene: Scene, thing: Thing) -> dict[str, int]:
    place = place_of(thing)
    known = {
        "kind": KINDS.index(thing.kind),
        "color": COLOR_NAMES.index(thing.color),
        "digit": DIGITS.index(thing.digit) if thing.digit else IGNORE,
        "place": IGNORE if place is None else PLACES.index(place),
        "size": int(thing.large),
        "count": sum(other.kind == thing.kind for other in scene.things) - 1,
    }
    for direction in DIRECTIONS:
        other = scene.neighbor(thing, direction)
        known[direction] = (
            len(KINDS) if other is None else KINDS.index(other.kind) if isinstance(other, Thing) else IGNORE
        )
    return known


def large_phrases(scenes: list[Scene]) -> Tensor:
    """Multi-hot targets (B, colors × shapes) float32: 1 where the scene has a large thing of that color and shape."""
    phrases = torch.zeros(len(scenes), len(COLOR_NAMES) * len(SHAPES))
    for row, scene in enumerate(scenes):
        for thing in scene.things:
            if thing.large and thing.kind != CARD:
                phrases[row, COLOR_NAMES.index(thing.color) * len(SHAPES) + SHAPES.index(thing.kind)] = 1
    return phrases


def first_patches(owners: Tensor) -> Tensor:
    """Mark each thing's first patch in reading order: one mark per thing makes counting learnable.

    owners: (B, N) int64, see `patch_owners`. Returns (B, N) bool.
    """
    first = torch.zeros_like(owners, dtype=torch.bool)
    for thing in range(int(owners.max()) + 1):
        shown = owners == thing
        first |= shown & (shown.cumsum(1) == 1)
    return first
