"""Constants of the pocket world: shapes, colors, digits, places, and the seed range of each split."""

from __future__ import annotations

from dataclasses import dataclass

SHAPES = ("circle", "square", "triangle", "star", "ring", "cross", "diamond", "heart")
PLURALS = ("circles", "squares", "triangles", "stars", "rings", "crosses", "diamonds", "hearts")
COLORS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "orange": (245, 137, 24),
    "yellow": (246, 218, 48),
    "green": (46, 160, 67),
    "cyan": (64, 205, 214),
    "blue": (38, 84, 214),
    "pink": (240, 92, 190),
    "white": (245, 245, 245),
}
COLOR_NAMES = tuple(COLORS)
CARD = "card"
KINDS = (*SHAPES, CARD)
DIGITS = tuple("0123456789")
COUNTS = ("zero", "one", "two", "three", "four")
PLACES = (
    "top-left",
    "top",
    "top-right",
    "left",
    "center",
    "right",
    "bottom-left",
    "bottom",
    "bottom-right",
)
DIRECTIONS = ("left", "right", "above", "below")

CANVAS_PX = 672
"""Side length of a drawn scene, in pixels."""

SPLITS = {"train": 0, "validation": 100_000_000, "test": 200_000_000, "study": 300_000_000, "showcase": 400_000_000}
SPLIT_SIZE = 100_000_000


@dataclass(frozen=True)
class Thing:
    """An object in a scene.

    digit: "" except on cards. role: "main" (the largest), "second" (also large), "card", or "small" (small and faint).
    box: (left, top, right, bottom) in pixels of the 672 px canvas. opacity: in 0..1.
    """

    kind: str
    color: str
    digit: str
    role: str
    box: tuple[int, int, int, int]
    opacity: float

    @property
    def center(self) -> tuple[float, float]:
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2

    @property
    def large(self) -> bool:
        return self.role in ("main", "second")


def seed_in(split: str, index: int) -> int:
    """The seed of scene `index` (0..SPLIT_SIZE-1) of a split; splits never share a seed."""
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    if not 0 <= index < SPLIT_SIZE:
        raise ValueError(f"index must be in 0..{SPLIT_SIZE - 1}, got {index}")
    return SPLITS[split] + index
