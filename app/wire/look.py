"""How the maps look on a visitor's page: colors, opacity, scale, image and word. A saved picture looks the same."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adafv_core.errors import InputError
from app.wire.parse import shortened

_POINTS = {
    "cividis": "00224e 123570 3b496c 575d6d 707173 8a8678 a59c74 c3b369 e1cc55 fee838",
    "viridis": "440154 482878 3e4989 31688e 26828e 1f9e89 35b779 6ece58 b5de2b fde725",
}


def _table(points: str) -> NDArray[np.uint8]:
    fixed = np.array([[int(point[i : i + 2], 16) for i in (0, 2, 4)] for point in points.split()], float)
    at = np.linspace(0, len(fixed) - 1, 256)
    columns = [np.interp(at, np.arange(len(fixed)), fixed[:, channel]) for channel in range(3)]
    return np.round(np.stack(columns, axis=1)).astype(np.uint8)


COLOR_MAPS = {name: _table(points) for name, points in _POINTS.items()}
"""name → (256, 3) uint8 RGB, from low to high; perceptually uniform, readable without color vision."""

SCALES = ("root", "linear", "rank")
"""What colors follow: the square root of a value, the value, or its rank."""


@dataclass(frozen=True)
class Look:
    """opacity: of the colors over the image, 0..1. word: whose own map stands for the T2I similarity; -1 for all
    counted words. with_image: whether the image shows."""

    color_map: str = "cividis"
    opacity: float = 0.78
    scale: str = "root"
    word: int = -1
    with_image: bool = True


def read_look(text: Any) -> Look:
    """The look in the slider's JSON text; what it does not say is at its default.

    Raises InputError where a value is none that the page has.
    """
    try:
        raw = json.loads(text).get("look", {}) if text else {}
        look = Look(**{**raw, "opacity": float(raw.get("opacity", Look.opacity))})
    except (TypeError, ValueError, AttributeError, OverflowError):
        raise InputError("The look of the maps could not be read: reload the page.") from None
    for name, value, known in (
        ("colors", look.color_map, tuple(COLOR_MAPS)),
        ("scale", look.scale, SCALES),
        ("image", look.with_image, (True, False)),
    ):
        if value not in known:
            raise InputError(f"The maps have no {name} {shortened(value)}: reload the page.")
    if not 0 <= look.opacity <= 1 or type(look.word) is not int:
        raise InputError("The look of the maps could not be read: reload the page.")
    return look
