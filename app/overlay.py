"""Scores → pictures at the image's own size: the four overlays as one PNG sheet, drawn with Pillow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from adafv_core.types import Crop, TokenGrid, Why

_POINTS = {
    "cividis": "00224e 123570 3b496c 575d6d 707173 8a8678 a59c74 c3b369 e1cc55 fee838",
    "viridis": "440154 482878 3e4989 31688e 26828e 1f9e89 35b779 6ece58 b5de2b fde725",
}
Levels = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""From (N,) values to their places on a colour map, 0..1."""

_TEXT, _VISION, _OTHER = (240, 130, 30), (40, 130, 230), (230, 230, 235)
_CAPTION_PX = 28


def _table(points: str) -> NDArray[np.uint8]:
    fixed = np.array([[int(point[i : i + 2], 16) for i in (0, 2, 4)] for point in points.split()], float)
    at = np.linspace(0, len(fixed) - 1, 256)
    columns = [np.interp(at, np.arange(len(fixed)), fixed[:, channel]) for channel in range(3)]
    return np.round(np.stack(columns, axis=1)).astype(np.uint8)


COLOUR_MAPS = {name: _table(points) for name, points in _POINTS.items()}
"""name → (256, 3) uint8 RGB, from low to high; perceptually uniform, readable without colour vision."""


@dataclass(frozen=True)
class Maps:
    """What is drawn. t2i, saliency, mixed: (N,) float. kept: (N,) bool. why: (N,) values of `Why`."""

    t2i: NDArray[np.float32]
    saliency: NDArray[np.float32]
    mixed: NDArray[np.float32]
    kept: NDArray[np.bool_]
    why: NDArray[np.int8]


def overlay_sheet(
    picture: Image.Image, grid: TokenGrid, maps: Maps, colour_map: str = "cividis", opacity: float = 0.78
) -> Image.Image:
    """T2I, saliency, mixed score and kept tokens side by side, two by two, each at the image's own size (RGB)."""
    width, height = picture.size
    sheet = Image.new("RGB", (2 * width + 12, 2 * (height + _CAPTION_PX) + 12), "white")
    write = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=15)
    titles = (
        "T2I similarity",
        "Visual saliency",
        "Mixed score",
        f"Kept: {int(maps.kept.sum())} of {grid.size}",
    )
    panels = (
        heat_overlay(picture, grid, maps.t2i, colour_map, opacity),
        heat_overlay(picture, grid, maps.saliency, colour_map, opacity),
        heat_overlay(picture, grid, maps.mixed, colour_map, opacity, mixed_levels),
        kept_overlay(picture, grid, maps.kept, maps.why),
    )
    for index, (title, panel) in enumerate(zip(titles, panels, strict=True)):
        left, top = (index % 2) * (width + 12), (index // 2) * (height + _CAPTION_PX + 12)
        write.text((left + 2, top + 5), title, fill=(28, 33, 38), font=font)
        sheet.paste(panel, (left, top + _CAPTION_PX))
    return sheet


def root_levels(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where (N,) values ≥ 0 lie on a colour map, 0..1: the square root of their share of the highest."""
    high = values.max(initial=0.0)
    return np.sqrt(values.clip(min=0) / high) if high > 0 else np.zeros_like(values)


def mixed_levels(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where (N,) mixed scores lie on a colour map, 0..1: dropped ones (below 1) in the lower half by their square
    root, kept ones in the upper by their logarithm."""
    span = np.log(values.max(initial=1.0))
    above = np.log(values.clip(min=1)) / span if span > 0 else np.ones_like(values)
    return np.where(values < 1, 0.5 * np.sqrt(values.clip(0, 1)), 0.55 + 0.45 * above)


def heat_overlay(
    picture: Image.Image,
    grid: TokenGrid,
    values: NDArray[np.float32],
    colour_map: str,
    opacity: float,
    levels: Levels = root_levels,
) -> Image.Image:
    """The image under a map of (N,) values. levels: where they lie on the colour map, 0..1.

    Where only a coarser crop covers the image, its own cells show.
    """
    level = levels(np.asarray(values, np.float64))
    layer = Image.new("RGBA", picture.size, (0, 0, 0, 0))
    for crop in _coarse_to_fine(grid):
        box = _pixels(crop.box)
        colours = COLOUR_MAPS[colour_map][np.round(255 * _cells(grid, level, crop)).astype(int)]
        cells = Image.fromarray(colours.astype(np.uint8), "RGB").convert("RGBA")
        cells.putalpha(round(255 * opacity))
        layer.paste(cells.resize((box[2] - box[0], box[3] - box[1]), Image.Resampling.NEAREST), box[:2])
    return Image.alpha_composite(picture.convert("RGBA"), layer).convert("RGB")


def kept_overlay(picture: Image.Image, grid: TokenGrid, kept: NDArray[np.bool_], why: NDArray[np.int8]) -> Image.Image:
    """The image with dropped patches dimmed and kept ones outlined; a corner tells which side chose each."""
    dim = Image.new("RGBA", picture.size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(dim)
    unit = max(1, round(min(picture.size) / 400))
    for crop in _coarse_to_fine(grid):
        mask = _cells(grid, kept.astype(np.float64), crop) > 0
        for row, col in np.ndindex(mask.shape):
            box = _pixels(_cell(crop, row, col))
            fill = (0, 0, 0, 0) if mask[row, col] else (246, 246, 244, 205)
            draw.rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=fill)
        for row, col in zip(*mask.nonzero(), strict=True):
            _outline(draw, _pixels(_cell(crop, row, col)), _open_sides(mask, row, col), unit)
    for part in grid.crops:
        for index in range(part.size):
            _corners(
                draw,
                _pixels(_cell(part, index // part.cols, index % part.cols)),
                Why(int(why[part.offset + index])),
            )
    return Image.alpha_composite(picture.convert("RGBA"), dim).convert("RGB")


def _coarse_to_fine(grid: TokenGrid) -> list[Crop]:
    return sorted(grid.crops, key=lambda crop: (crop.size, -crop.offset))


def _cells(grid: TokenGrid, values: NDArray[np.float64], crop: Crop) -> NDArray[np.float64]:
    """(rows, cols) of a crop: its own values; of the finest crop the largest of any token that covers a cell's
    middle."""
    cells = values[crop.offset : crop.offset + crop.size].reshape(crop.rows, crop.cols).copy()
    if crop is not _coarse_to_fine(grid)[-1]:
        return cells
    rows, cols = np.mgrid[0 : crop.rows, 0 : crop.cols] + 0.5
    x = crop.box[0] + cols / crop.cols * (crop.box[2] - crop.box[0])
    y = crop.box[1] + rows / crop.rows * (crop.box[3] - crop.box[1])
    for other in grid.crops:
        if other is crop:
            continue
        col = np.floor((x - other.box[0]) / (other.box[2] - other.box[0]) * other.cols).astype(int)
        row = np.floor((y - other.box[1]) / (other.box[3] - other.box[1]) * other.rows).astype(int)
        inside = (col >= 0) & (row >= 0) & (col < other.cols) & (row < other.rows)
        token = other.offset + row.clip(0, other.rows - 1) * other.cols + col.clip(0, other.cols - 1)
        cells = np.where(inside, np.maximum(cells, values[token]), cells)
    return cells


def _cell(crop: Crop, row: int, col: int) -> tuple[float, float, float, float]:
    width, height = (crop.box[2] - crop.box[0]) / crop.cols, (crop.box[3] - crop.box[1]) / crop.rows
    left, top = crop.box[0] + col * width, crop.box[1] + row * height
    return left, top, left + width, top + height


def _pixels(box: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
    left, top, right, bottom = (round(side) for side in box)
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _open_sides(mask: NDArray[np.bool_], row: int, col: int) -> tuple[bool, bool, bool, bool]:
    rows, cols = mask.shape
    return (
        row == 0 or not mask[row - 1, col],
        row == rows - 1 or not mask[row + 1, col],
        col == 0 or not mask[row, col - 1],
        col == cols - 1 or not mask[row, col + 1],
    )


def _outline(
    draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], sides: tuple[bool, bool, bool, bool], unit: int
) -> None:
    left, top, right, bottom = box[0], box[1], box[2] - 1, box[3] - 1
    lines = (
        (left, top, right, top), (left, bottom, right, bottom), (left, top, left, bottom), (right, top, right, bottom)
    )  # fmt: skip
    for colour, width in (((255, 255, 255, 255), 3 * unit), ((20, 24, 30, 255), unit + 1)):
        for wanted, line in zip(sides, lines, strict=True):
            if wanted:
                draw.line(line, fill=colour, width=width)


def _corners(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], why: Why) -> None:
    left, top, right, bottom = box[0] + 2, box[1] + 2, box[2] - 3, box[3] - 3
    size = 0.4 * min(right - left, bottom - top)
    if size < 2:
        return
    if why in (Why.TEXT, Why.BOTH):
        draw.polygon(((left, top), (left + size, top), (left, top + size)), fill=_TEXT, outline="white")
    if why in (Why.VISION, Why.BOTH):
        draw.polygon(((right, bottom), (right - size, bottom), (right, bottom - size)), fill=_VISION, outline="white")
    if why in (Why.FLOOR, Why.FORCED):
        x, y, half = (left + right) / 2, (top + bottom) / 2, size / 2
        draw.polygon(((x, y - half), (x + half, y), (x, y + half), (x - half, y)), fill=_OTHER, outline="black")
