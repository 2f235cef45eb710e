"""How the maps look on a user's page: colors, opacity, scale, image and word. A saved picture looks the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from plotly.colors import hex_to_rgb, sequential

_PALETTES = {"cividis": sequential.Cividis, "viridis": sequential.Viridis}


def _table(colors: list[str]) -> NDArray[np.uint8]:
    fixed = np.array([hex_to_rgb(color) for color in colors], float)
    at = np.linspace(0, len(fixed) - 1, 256)
    columns = [np.interp(at, np.arange(len(fixed)), fixed[:, channel]) for channel in range(3)]
    return np.round(np.stack(columns, axis=1)).astype(np.uint8)


COLOR_MAPS = {name: _table(colors) for name, colors in _PALETTES.items()}
"""name → (256, 3) uint8 RGB, from low to high; perceptually uniform and readable without color vision."""

SCALES = ("root", "linear", "rank")
"""What colors represent: the square root of a value, the value, or its rank."""


@dataclass(frozen=True)
class Look:
    """opacity: of the colors over the image, 0..1. word: index of the word whose own map is shown as T2I similarity;
    −1 for all counted words together. with_image: whether the image shows under the maps."""

    color_map: str = "cividis"
    opacity: float = 0.78
    scale: str = "root"
    word: int = -1
    with_image: bool = True


def make_look(values: Mapping[str, Any]) -> Look:
    """The look with these values, defaults for the rest. Raises ValueError or TypeError for invalid ones."""
    look = Look(**{**values, "opacity": float(values.get("opacity", Look.opacity))})
    known = look.color_map in COLOR_MAPS and look.scale in SCALES and look.with_image in (True, False)
    if not known or not 0 <= look.opacity <= 1 or type(look.word) is not int:
        raise ValueError(f"no look of the maps: {values}")
    return look
