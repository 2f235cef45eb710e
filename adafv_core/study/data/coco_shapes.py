"""Places COCO annotations in the displayed picture: boxes, polygons, and run lengths (plain or packed).

Boxes and polygons use continuous coordinates, with pixel (0, 0) covering 0..1 on both axes; a pixel belongs to a shape
that covers its center. Run lengths count pixels down the columns, starting outside the object.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adafv_core.images import MAX_PIXELS
from adafv_core.study.data.image_folder import Header

Mask = NDArray[np.float32]
Points = NDArray[np.float64]
Size = tuple[int, int]
_TRANSPOSE = Image.Transpose
# What `PIL.ImageOps.exif_transpose` does for each EXIF orientation.
_TURNS = {
    2: _TRANSPOSE.FLIP_LEFT_RIGHT,
    3: _TRANSPOSE.ROTATE_180,
    4: _TRANSPOSE.FLIP_TOP_BOTTOM,
    5: _TRANSPOSE.TRANSPOSE,
    6: _TRANSPOSE.ROTATE_270,
    7: _TRANSPOSE.TRANSVERSE,
    8: _TRANSPOSE.ROTATE_90,
}


@dataclass(frozen=True)
class Placement:
    """Maps annotated pixels to displayed ones: first rotated by EXIF orientation `turn`, then scaled to `shown`.

    annotated, shown: (width, height). turn: 1 for no rotation.
    """

    annotated: Size
    shown: Size
    turn: int = 1

    def points(self, points: Points) -> Points:
        """(n, 2) annotated x, y as displayed x, y."""
        width, height = self.annotated
        x, y = points[:, 0], points[:, 1]
        right, up = width - x, height - y
        turned = {
            1: (x, y),
            2: (right, y),
            3: (right, up),
            4: (x, up),
            5: (y, x),
            6: (up, x),
            7: (up, right),
            8: (y, right),
        }[self.turn]
        scale = np.array(self.shown) / np.array(turned_size(self.annotated, self.turn))
        return np.asarray(np.stack(turned, axis=1) * scale, dtype=np.float64)

    def mask(self, inside: NDArray[np.uint8]) -> Mask:
        """A (height, width) mask of 0 and 1 in annotated pixels as float32 in 0..1 in displayed pixels."""
        picture = Image.fromarray(inside * np.uint8(255))
        if self.turn != 1:
            picture = picture.transpose(_TURNS[self.turn])
        if picture.size != self.shown:
            picture = picture.resize(self.shown, Image.Resampling.BOX)
        return np.asarray(picture, dtype=np.float32) / np.float32(255)


def turned_size(size: Size, orientation: int) -> Size:
    """(width, height) after EXIF rotation."""
    return size if orientation < 5 else (size[1], size[0])


def placement_of(annotated: Size | None, header: Header) -> Placement:
    """The placement of annotations made on a picture of size `annotated` (width, height; None if unknown).

    Annotations of a scaled copy are scaled. Those of a photograph with EXIF rotation are rotated if the annotated size
    is that of the stored pixels. Raises ValueError, saying why, if the aspect ratio differs, or if it is unclear
    whether the annotations refer to stored or to displayed pixels.
    """
    shown = turned_size(header.stored, header.orientation)
    if annotated is None:
        if header.orientation == 1:
            return Placement(shown, shown)
        raise ValueError(
            f"EXIF turns the picture (orientation {header.orientation}) and the image has no `width` and `height`, so "
            "its annotations could refer to stored or to shown pixels; store the picture upright"
        )
    as_shown, as_stored = annotated == shown, annotated == header.stored
    if not (as_shown or as_stored):
        as_shown, as_stored = _is_scaled(annotated, shown), _is_scaled(annotated, header.stored)
    if as_shown and as_stored and header.orientation != 1:
        raise ValueError(
            f"EXIF turns the picture (orientation {header.orientation}) and its size does not show whether annotations "
            "refer to stored or to shown pixels; store the picture upright"
        )
    if as_shown:
        return Placement(annotated, shown)
    if as_stored:
        return Placement(annotated, shown, header.orientation)
    raise ValueError(
        f"the annotations are for {annotated[0]} × {annotated[1]} pixels, but the picture has {shown[0]} × {shown[1]}, "
        "which is not a scaled copy"
    )


def annotated_size(entry: dict[str, Any]) -> Size | None:
    """`width` and `height` of an image entry, None if absent. Raises ValueError if they are not a valid size."""
    if entry.get("width") is None and entry.get("height") is None:
        return None
    return _size(entry.get("width"), entry.get("height"), "`width` and `height`")


@dataclass(frozen=True)
class Shape:
    """A validated annotation: polygons as (n, 2) points in annotated pixels, or run lengths, with their placement."""

    polygons: tuple[Points, ...]
    runs: tuple[int, ...]
    placement: Placement

    def mask(self) -> Mask:
        """(height, width) float32 in 0..1, in pixels of the displayed picture: where the object is."""
        if self.runs:
            columns, rows = self.placement.annotated
            inside = np.repeat(np.arange(len(self.runs), dtype=np.uint8) % 2, self.runs).reshape(columns, rows).T
            return self.placement.mask(np.ascontiguousarray(inside))
        masks = [polygon_mask(self.placement.points(one), self.placement.shown) for one in self.polygons]
        return np.asarray(np.maximum.reduce(masks), dtype=np.float32)

    def key(self) -> tuple[object, ...]:
        """Everything that determines the mask, as values with a stable `repr`."""
        return [one.tolist() for one in self.polygons], self.runs, self.placement


def shape_of(annotation: dict[str, Any], size: Size | None, header: Header) -> Shape:
    """The shape of an object: its `segmentation` if it has one, else its `bbox`.

    size: annotated (width, height), if known. Raises ValueError, saying why, if the annotation cannot be used or lies
    outside the picture.
    """
    segmentation, box = annotation.get("segmentation"), annotation.get("bbox")
    if has_runs(annotation):
        rows, columns, runs = _runs_of(annotation["segmentation"])
        if size is not None and not _is_scaled((columns, rows), size):
            raise ValueError(
                f"`segmentation` is for {columns} × {rows} pixels, its image has `width` and `height` of "
                f"{size[0]} × {size[1]}"
            )
        placement = placement_of(size or (columns, rows), header)
        return Shape((), runs, Placement((columns, rows), placement.shown, placement.turn))
    placement = placement_of(size, header)
    polygons = tuple(_points_of(one) for one in _list_of(segmentation)) if segmentation else (_corners_of(box),)
    for polygon in polygons:
        low, high = placement.points(polygon).min(axis=0), placement.points(polygon).max(axis=0)
        if (low < np.array(placement.shown)).all() and (high > 0).all():
            return Shape(polygons, (), placement)
    raise ValueError(f"it lies outside of the picture of {placement.annotated[0]} × {placement.annotated[1]} pixels")


def has_runs(annotation: dict[str, Any]) -> bool:
    """Whether the object is given as run lengths."""
    segmentation = annotation.get("segmentation")
    return isinstance(segmentation, dict) and bool(segmentation)


def reach_of(annotation: dict[str, Any]) -> tuple[float, float]:
    """The largest x and y of an object's box and polygons, in annotated pixels; 0 where they cannot be read, and for
    run lengths, which hold the annotated size.
    """
    segmentation, box = annotation.get("segmentation"), annotation.get("bbox")
    if has_runs(annotation):
        return 0.0, 0.0
    found = [(0.0, 0.0)]
    for read, values in [(_corners_of, [box]), (_points_of, segmentation if isinstance(segmentation, list) else [])]:
        for one in values:
            try:
                x, y = read(one).max(axis=0)
            except ValueError:
                continue
            found.append((float(x), float(y)))
    return max(x for x, _ in found), max(y for _, y in found)


def polygon_mask(points: Points, size: Size) -> Mask:
    """(height, width) float32, 1 for pixels whose center is inside the polygon (even-odd rule).

    points: (n, 2) x, y. size: (width, height).
    """
    width, height = size
    # Each edge flips everything to the right of where it crosses the middle of a row of pixels.
    flips = np.zeros((height, width + 1), dtype=np.int64)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        top, bottom = (min(max(math.ceil(y - 0.5), 0), height) for y in sorted((y0, y1)))
        rows = np.arange(top, bottom)
        if rows.size:
            x = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
            np.add.at(flips, (rows, np.ceil(x - 0.5).clip(0, width).astype(np.int64)), 1)
    return (flips.cumsum(axis=1)[:, :width] % 2).astype(np.float32)


def unpacked(text: str) -> list[int]:
    """Run lengths from COCO's packed string: 5 bits per character from code 48, low bits first; from the fourth run on,
    the difference from the run two before. Raises ValueError for a string that ends in the middle of a number.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        value |= (code & 0x1F) << shift
        shift += 5
        if code & 0x20:
            continue
        if code & 0x10:
            value |= -1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("the packed `counts` of a run-length `segmentation` end in the middle of a number")
    return runs


def _is_scaled(size: Size, other: Size) -> bool:
    """Whether one size is a scaled copy of the other, up to rounding to whole pixels."""
    small, large = sorted((size, other), key=lambda one: one[0] * one[1])
    low = max((small[side] - 1) / large[side] for side in (0, 1))
    high = min((small[side] + 1) / large[side] for side in (0, 1))
    return low < high


def _runs_of(segmentation: dict[str, Any]) -> tuple[int, int, tuple[int, ...]]:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not (isinstance(size, list) and len(size) == 2):
        raise ValueError("a run-length `segmentation` needs `size`: [height, width]")
    columns, rows = _size(size[1], size[0], "`size` of a run-length `segmentation`")
    if isinstance(counts, str):
        counts = unpacked(counts)
    if not (isinstance(counts, list) and all(_is_whole(run) and run >= 0 for run in counts)):
        raise ValueError("`counts` of a run-length `segmentation` must be numbers of pixels, or COCO's packed string")
    if sum(counts) != rows * columns:
        raise ValueError(f"the runs of `segmentation` cover {sum(counts)} pixels, but its size is {rows} × {columns}")
    if not any(counts[1::2]):
        raise ValueError("the runs of `segmentation` hold no pixel")
    return rows, columns, tuple(counts)


def _list_of(segmentation: Any) -> list[Any]:
    if not isinstance(segmentation, list):
        kind = type(segmentation).__name__
        raise ValueError(f"`segmentation` must be a list of polygons or a run-length object; got {kind}")
    return segmentation


def _points_of(polygon: Any) -> Points:
    if not (_are_numbers(polygon) and len(polygon) >= 6 and len(polygon) % 2 == 0):
        raise ValueError("a polygon of `segmentation` must be at least three x, y pairs in one flat list")
    return np.array(polygon, dtype=np.float64).reshape(-1, 2)


def _corners_of(box: Any) -> Points:
    if box is None:
        raise ValueError("an object needs `bbox` or `segmentation`")
    if not (_are_numbers(box) and len(box) == 4 and box[2] > 0 and box[3] > 0):
        raise ValueError(f"`bbox` must be [x, y, width, height] in pixels with width and height above 0; got {box!r}")
    x, y, width, height = (float(value) for value in box)
    return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])


def _size(width: Any, height: Any, name: str) -> Size:
    if not (_is_whole(width) and _is_whole(height) and width > 0 and height > 0 and width * height <= MAX_PIXELS):
        raise ValueError(f"{name} must be whole numbers above 0, {MAX_PIXELS:,} pixels at most")
    return int(width), int(height)


def _is_whole(value: Any) -> bool:
    return _are_numbers([value]) and value == int(value)


def _are_numbers(values: Any) -> bool:
    """Whether `values` is a list of finite numbers that fit into a float."""
    return isinstance(values, list) and all(
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15 for value in values
    )
