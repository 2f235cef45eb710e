"""Lays out scenes at random. The same seed gives the same scene on every machine."""

from __future__ import annotations

import random
from dataclasses import dataclass

from adafv_core.pocket.world.world import CANVAS_PX, CARD, COLOR_NAMES, DIGITS, PLACES, SHAPES, Thing

_GAP_PX = 14
_EDGE_PX = 10
_PLACE_MARGIN_PX = 26


@dataclass(frozen=True)
class Scene:
    """A laid-out scene: its things do not overlap, and the first is the main object."""

    seed: int
    things: tuple[Thing, ...]

    @property
    def main(self) -> Thing:
        return self.things[0]

    def neighbor(self, thing: Thing, direction: str) -> Thing | str | None:
        """The neighbor of `thing` in a direction (left, right, above or below).

        Returns the nearest thing in that direction if its center is level with that of `thing`, None if there is
        nothing, and "unclear" if people could disagree (the nearest one is only partly level).
        """
        axis = 0 if direction in ("left", "right") else 1
        sign = -1 if direction in ("left", "above") else 1
        nearest: tuple[float, bool, Thing] | None = None
        for other in self.things:
            if other is thing:
                continue
            ahead = sign * (other.center[axis] - thing.center[axis])
            if ahead <= 0:
                continue
            across = abs(other.center[1 - axis] - thing.center[1 - axis])
            ours, theirs = _extent(thing, 1 - axis), _extent(other, 1 - axis)
            if across >= (ours + theirs) / 2:
                continue
            gap = ahead - (_extent(thing, axis) + _extent(other, axis)) / 2
            if nearest is None or gap < nearest[0]:
                nearest = (gap, across <= 0.4 * max(ours, theirs), other)
        if nearest is None:
            return None
        return nearest[2] if nearest[1] else "unclear"


def _extent(thing: Thing, axis: int) -> int:
    return thing.box[axis + 2] - thing.box[axis]


def place_of(thing: Thing) -> str | None:
    """The cell of a 3 × 3 grid that the thing's center lies in (see PLACES); None if it is close to a border."""
    third = CANVAS_PX / 3
    column, row = (int(value // third) for value in thing.center)
    for value in thing.center:
        if min(abs(value - third), abs(value - 2 * third)) < _PLACE_MARGIN_PX:
            return None
    return PLACES[3 * row + column]


def make_scene(seed: int) -> Scene:
    """Lay out the scene of a seed.

    One large main object, a second large one with probability 0.6, zero to two numbered cards and three to six small
    faint shapes. With probability 0.6 one shape is used for about half of the small ones, for counting to be a task.
    """
    rng = random.Random(seed)
    things: list[Thing] = []
    _add(rng, things, "main", rng.randint(240, 312))
    if rng.random() < 0.6:
        _add(rng, things, "second", rng.randint(168, 204))
    for _ in range(rng.choice((0, 1, 1, 2))):
        _add(rng, things, "card", 128)
    theme = rng.choice(SHAPES) if rng.random() < 0.6 else None
    for _ in range(rng.randint(3, 6)):
        kind = theme if theme and rng.random() < 0.5 else None
        _add(rng, things, "small", rng.randint(80, 112), kind)
    return Scene(seed, tuple(things))


def _add(rng: random.Random, things: list[Thing], role: str, size: int, kind: str | None = None) -> None:
    height = size
    width = size * 26 // 32 if role == "card" else size
    chosen = CARD if role == "card" else kind or rng.choice(SHAPES)
    color, digit = rng.choice(COLOR_NAMES), rng.choice(DIGITS) if role == "card" else ""
    opacity = rng.randint(65, 88) / 100 if role == "small" else 1.0
    if sum(t.kind == chosen for t in things) >= 4:
        return
    for _ in range(60):
        left = rng.randint(_EDGE_PX, CANVAS_PX - _EDGE_PX - width)
        top = rng.randint(_EDGE_PX, CANVAS_PX - _EDGE_PX - height)
        box = (left, top, left + width, top + height)
        if not any(_overlap(box, other.box) for other in things):
            things.append(Thing(chosen, color, digit, role, box, opacity))
            return


def _overlap(one: tuple[int, int, int, int], two: tuple[int, int, int, int]) -> bool:
    return (
        one[0] < two[2] + _GAP_PX
        and two[0] < one[2] + _GAP_PX
        and one[1] < two[3] + _GAP_PX
        and two[1] < one[3] + _GAP_PX
    )
