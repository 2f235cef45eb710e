"""Draws the four overlays at the image's own size as one PNG sheet, with Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from adafv_core.saved_run.read import UNKNOWN_SALIENCY
from adafv_core.types import Crop, Selection, TokenGrid, TokenScores, Why
from app.saved_runs.levels import mixed_levels, plain_levels
from app.wire.look import COLOR_MAPS, Look

_TEXT, _VISION, _FLOOR, _FORCED, _METHOD = (240, 130, 30), (40, 130, 230), (181, 101, 201), (18, 181, 160), "white"
_NO_IMAGE = (201, 199, 191)
_CAPTION_PX = 28
_GAP_PX = 12
_INDENT_PX = 2


@dataclass(frozen=True)
class Maps:
    """The values to draw. t2i, saliency, mixed: (N,) float64. kept: (N,) bool. why: (N,) values of `Why`.

    word: the word whose own map t2i is; "" for that of all counted words. source: what saliency measures, as in
    `VisualTokens`; "" if unknown.
    """

    t2i: NDArray[np.float64]
    saliency: NDArray[np.float64]
    mixed: NDArray[np.float64]
    kept: NDArray[np.bool_]
    why: NDArray[np.int8]
    word: str = ""
    source: str = ""

    @classmethod
    def of(cls, scores: TokenScores, selection: Selection, word: int = -1) -> Maps:
        """The maps of a run. word: index of the word whose own map is drawn; any other: all counted words."""
        one = word in range(len(scores.words))
        t2i = scores.word_t2i[word] if one else scores.t2i
        return cls(
            *(values.detach().cpu().double().numpy() for values in (t2i, scores.saliency, selection.mixed)),
            kept=selection.kept.cpu().numpy(),
            why=selection.why.cpu().numpy().astype(np.int8),
            word=scores.words[word].strip() if one else "",
            source="" if scores.visual.saliency_source == UNKNOWN_SALIENCY else scores.visual.saliency_source,
        )


def overlay_sheet(picture: Image.Image, grid: TokenGrid, maps: Maps, look: Look | None = None) -> Image.Image:
    """T2I, saliency, mixed score and kept tokens, two by two, each at the image's own size (RGB).

    A column is as wide as the image, or as the widest caption if that is wider. look: as on the page; None for the
    defaults.
    """
    look = look or Look()
    width, height = picture.size
    font = ImageFont.load_default(size=15)
    ground = picture if look.with_image else Image.new("RGB", picture.size, _NO_IMAGE)
    opacity = look.opacity if look.with_image else 1.0

    def heat(levels: NDArray[np.float64]) -> Image.Image:
        return heat_overlay(ground, grid, levels, look.color_map, opacity)

    of_word = f" of “{maps.word}”" if maps.word else ""
    panels = (
        ("T2I similarity" + of_word, heat(plain_levels(maps.t2i, look.scale))),
        (
            "Visual saliency" + (f": {maps.source}" if maps.source else ""),
            heat(plain_levels(maps.saliency, look.scale)),
        ),
        ("Mixed score", heat(mixed_levels(maps.mixed, look.scale))),
        (f"Kept: {int(maps.kept.sum())} of {grid.size}", kept_overlay(ground, grid, maps.kept, maps.why)),
    )
    column = max(width, *(2 * _INDENT_PX + ceil(font.getlength(title)) for title, _ in panels))
    row = height + _CAPTION_PX
    sheet = Image.new("RGB", (2 * column + _GAP_PX, 2 * row + _GAP_PX), "white")
    write = ImageDraw.Draw(sheet)
    for index, (title, panel) in enumerate(panels):
        left, top = (index % 2) * (column + _GAP_PX), (index // 2) * (row + _GAP_PX)
        write.text((left + _INDENT_PX, top + 5), title, fill=(28, 33, 38), font=font)
        sheet.paste(panel, (left, top + _CAPTION_PX))
    return sheet


def stacked(sheets: Sequence[Image.Image]) -> Image.Image:
    """The sheets of several images, one below the other."""
    if len(sheets) == 1:
        return sheets[0]
    height = sum(sheet.height + _GAP_PX for sheet in sheets) - _GAP_PX
    whole = Image.new("RGB", (max(sheet.width for sheet in sheets), height), "white")
    top = 0
    for sheet in sheets:
        whole.paste(sheet, (0, top))
        top += sheet.height + _GAP_PX
    return whole


def heat_overlay(
    picture: Image.Image, grid: TokenGrid, levels: NDArray[np.float64], color_map: str, opacity: float
) -> Image.Image:
    """The image under a map. levels: (N,), the position of each token on the color map, 0..1.

    Where only a coarser crop covers the image, its own cells are visible.
    """
    layer = Image.new("RGBA", picture.size, (0, 0, 0, 0))
    for crop in _coarse_to_fine(grid):
        box = _pixels(crop.box)
        colors = COLOR_MAPS[color_map][np.round(255 * _cells(grid, levels, crop)).astype(int)]
        cells = Image.fromarray(colors.astype(np.uint8), "RGB").convert("RGBA")
        cells.putalpha(round(255 * opacity))
        layer.paste(cells.resize((box[2] - box[0], box[3] - box[1]), Image.Resampling.NEAREST), box[:2])
    return Image.alpha_composite(picture.convert("RGBA"), layer).convert("RGB")


def kept_overlay(picture: Image.Image, grid: TokenGrid, kept: NDArray[np.bool_], why: NDArray[np.int8]) -> Image.Image:
    """The image with dropped patches dimmed and kept ones outlined; a corner mark shows which side chose each."""
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
    for crop in grid.crops:
        for index in range(crop.size):
            cell = _pixels(_cell(crop, index // crop.cols, index % crop.cols))
            _corners(draw, cell, Why(int(why[crop.offset + index])))
    return Image.alpha_composite(picture.convert("RGBA"), dim).convert("RGB")


def _coarse_to_fine(grid: TokenGrid) -> list[Crop]:
    return sorted(grid.crops, key=lambda crop: (crop.size, -crop.offset))


def _cells(grid: TokenGrid, values: NDArray[np.float64], crop: Crop) -> NDArray[np.float64]:
    """(rows, cols) of a crop: its own values; for the finest crop, the maximum over the tokens of all crops that cover
    the cell's center.
    """
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
        (left, top, right, top),
        (left, bottom, right, bottom),
        (left, top, left, bottom),
        (right, top, right, bottom),
    )
    for color, width in (((255, 255, 255, 255), 3 * unit), ((20, 24, 30, 255), unit + 1)):
        for wanted, line in zip(sides, lines, strict=True):
            if wanted:
                draw.line(line, fill=color, width=width)


def _corners(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], why: Why) -> None:
    left, top, right, bottom = box[0] + 2, box[1] + 2, box[2] - 3, box[3] - 3
    size = 0.4 * min(right - left, bottom - top)
    if size < 2:
        return
    if why in (Why.TEXT, Why.BOTH):
        draw.polygon(((left, top), (left + size, top), (left, top + size)), fill=_TEXT, outline="white")
    if why in (Why.VISION, Why.BOTH):
        draw.polygon(((right, bottom), (right - size, bottom), (right, bottom - size)), fill=_VISION, outline="white")
    x, y, half = (left + right) / 2, (top + bottom) / 2, size / 2
    if why == Why.FLOOR:
        draw.rectangle((x - half, y - half / 3, x + half, y + half / 3), fill=_FLOOR, outline="white")
    if why == Why.FORCED:
        draw.polygon(((x, y - half), (x + half, y), (x, y + half), (x - half, y)), fill=_FORCED, outline="white")
    if why == Why.METHOD:
        draw.rectangle((x - half / 2, y - half / 2, x + half / 2, y + half / 2), fill=_METHOD, outline="black")
