"""COCO annotations as masks: boxes, polygons, run lengths plain and packed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Mask = NDArray[np.float32]


def problem(annotation: dict[str, Any]) -> str | None:
    """What is wrong with an annotation's bbox and segmentation; None if either can be used."""
    shape, box = annotation.get("segmentation"), annotation.get("bbox")
    if shape:
        if isinstance(shape, list):
            for polygon in shape:
                if not (_numbers(polygon) and len(polygon) >= 6 and len(polygon) % 2 == 0):
                    return "a polygon of `segmentation` must be at least three x, y pairs in one flat list"
            return None
        if isinstance(shape, dict):
            return _run_length_problem(shape)
        return f"`segmentation` must be a list of polygons or a run-length object; got {type(shape).__name__}"
    if box is None:
        return "an object needs `bbox` or `segmentation`"
    if not (_numbers(box) and len(box) == 4 and box[2] > 0 and box[3] > 0):
        return f"`bbox` must be [x, y, width, height] in pixels with width and height above 0; got {box!r}"
    return None


def object_mask(annotation: dict[str, Any], size: tuple[int, int]) -> Mask:
    """(height, width) float32, 1 inside. The segmentation counts where there is one, else the box.

    size: (width, height) of the picture. The annotation must have no `problem`.
    """
    width, height = size
    shape = annotation.get("segmentation")
    if isinstance(shape, dict):
        rows, columns = shape["size"]
        counts = shape["counts"]
        runs = unpacked(counts) if isinstance(counts, str) else counts
        inside = np.repeat(np.arange(len(runs), dtype=np.uint8) % 2, runs).reshape(columns, rows).T
        drawn = Image.fromarray(np.ascontiguousarray(inside)).resize(size, Image.Resampling.NEAREST)
        return np.asarray(drawn, dtype=np.float32)
    mask = Image.new("L", size, 0)
    draw = ImageDraw.Draw(mask)
    if shape:
        for polygon in shape:
            draw.polygon([(polygon[at], polygon[at + 1]) for at in range(0, len(polygon), 2)], fill=1)
    else:
        left, top, wide, high = annotation["bbox"]
        right, bottom = min(width, left + wide) - 1, min(height, top + high) - 1
        left, top = max(0, left), max(0, top)
        if right >= left and bottom >= top:
            draw.rectangle((round(left), round(top), round(right), round(bottom)), fill=1)
    return np.asarray(mask, dtype=np.float32)


def unpacked(text: str) -> list[int]:
    """Run lengths from COCO's packed string: 5 bits a character from code 48, low bits first, as differences to the
    run two before from the fourth run on.
    """
    runs: list[int] = []
    place = 0
    while place < len(text):
        value = shift = 0
        more = True
        while more:
            code = ord(text[place]) - 48
            value |= (code & 0x1F) << shift
            more, place, shift = bool(code & 0x20), place + 1, shift + 5
            if not more and code & 0x10:
                value |= -1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
    return runs


def _run_length_problem(shape: dict[str, Any]) -> str | None:
    size, counts = shape.get("size"), shape.get("counts")
    if not (_numbers(size) and isinstance(size, list) and len(size) == 2):
        return "a run-length `segmentation` needs `size`: [height, width]"
    if isinstance(counts, str):
        try:
            counts = unpacked(counts)
        except IndexError:
            return "the packed `counts` of a run-length `segmentation` end in the middle of a number"
    if not (_numbers(counts) and isinstance(counts, list) and all(run >= 0 for run in counts)):
        return "`counts` of a run-length `segmentation` must be numbers of pixels, or COCO's packed string"
    if sum(counts) != size[0] * size[1]:
        return f"the runs of `segmentation` cover {sum(counts)} pixels, but its size is {size[0]} × {size[1]}"
    return None


def _numbers(values: Any) -> bool:
    return isinstance(values, list) and all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) for value in values
    )
