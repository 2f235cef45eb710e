"""Objects lie where the picture shows them: in resized copies and in photographs that EXIF turns, for all shapes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageOps

from adafv_core.errors import InputError
from adafv_core.study.data.base import DataSet
from adafv_core.study.data.coco_shapes import placement_of, polygon_mask, shape_of, turned_size, unpacked
from adafv_core.study.data.image_folder import Header
from adafv_core.study.data.user import open_user_set

SIZES = st.tuples(st.integers(8, 80), st.integers(8, 80))
KINDS = ("bbox", "polygon", "runs", "packed")
ORIENTATION = 0x0112


def annotation_of(kind: str, box: tuple[int, int, int, int], size: tuple[int, int]) -> dict[str, Any]:
    """One box as each kind of COCO shape. size: (width, height) that was annotated."""
    x, y, width, height = box
    if kind == "bbox":
        return {"bbox": list(box)}
    if kind == "polygon":
        return {"segmentation": [[x, y, x + width, y, x + width, y + height, x, y + height]]}
    inside = np.zeros((size[1], size[0]), dtype=bool)
    inside[y : y + height, x : x + width] = True
    flat = inside.T.ravel()
    edges = np.flatnonzero(np.diff(flat.astype(np.int8), prepend=0))
    runs = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    counts = runs if kind == "runs" else packed(runs)
    return {"segmentation": {"size": [size[1], size[0]], "counts": counts}}


def packed(runs: list[int]) -> str:
    """Run lengths as COCO's own code packs them, written from its description."""
    text = ""
    for place, run in enumerate(runs):
        value = run - (runs[place - 2] if place > 2 else 0)
        more = True
        while more:
            code = value & 0x1F
            value >>= 5
            more = value != (-1 if code & 0x10 else 0)
            text += chr(48 + (code | 0x20 if more else code))
    return text


@st.composite
def boxes(draw: st.DrawFn, size: tuple[int, int]) -> tuple[int, int, int, int]:
    x, y = draw(st.integers(0, size[0] - 2)), draw(st.integers(0, size[1] - 2))
    return x, y, draw(st.integers(1, size[0] - x)), draw(st.integers(1, size[1] - y))


@given(st.data(), SIZES, st.integers(1, 8), st.sampled_from(KINDS))
def test_boxes_of_stored_pixels_are_turned_as_exif_turns_the_picture_or_refused(
    data: st.DataObject, size: tuple[int, int], orientation: int, kind: str
) -> None:
    box = data.draw(boxes(size))
    stored = Image.new("L", size)
    x, y, width, height = box
    ImageDraw.Draw(stored).rectangle((x, y, x + width - 1, y + height - 1), fill=1)
    stored.getexif()[ORIENTATION] = orientation
    shown = np.asarray(ImageOps.exif_transpose(stored))
    header = Header(size, orientation)
    if orientation > 1 and turned_size(size, orientation) == size:
        with pytest.raises(ValueError, match="does not show whether annotations refer to stored or to shown pixels"):
            shape_of(annotation_of(kind, box, size), size, header)
    else:
        assert np.array_equal(shape_of(annotation_of(kind, box, size), size, header).mask(), shown)


@given(st.data(), SIZES, st.integers(5, 8), st.sampled_from(KINDS))
def test_boxes_of_shown_pixels_stay_where_they_are(
    data: st.DataObject, shown: tuple[int, int], orientation: int, kind: str
) -> None:
    assume(shown[0] != shown[1])
    x, y, width, height = box = data.draw(boxes(shown))
    mask = shape_of(annotation_of(kind, box, shown), shown, Header(shown[::-1], orientation)).mask()
    assert mask.shape == shown[::-1] and mask.sum() == width * height == mask[y : y + height, x : x + width].sum()


@given(st.data(), SIZES, st.integers(2, 4), st.sampled_from((1, 6)), st.booleans(), st.sampled_from(KINDS))
def test_boxes_are_scaled_to_copies_of_another_size(
    data: st.DataObject, small: tuple[int, int], factor: int, orientation: int, smaller: bool, kind: str
) -> None:
    assume(small[0] / small[1] > 1.3)
    large = (factor * small[0], factor * small[1])
    annotated, stored = (large, small) if smaller else (small, large)
    box = data.draw(boxes(small))
    scale = factor if smaller else 1
    annotation = annotation_of(kind, tuple(scale * side for side in box), annotated)  # type: ignore[arg-type]
    mask = shape_of(annotation, annotated, Header(stored, orientation)).mask()
    drawn = Image.new("L", small)
    x, y, width, height = box
    ImageDraw.Draw(drawn).rectangle((x, y, x + width - 1, y + height - 1), fill=1)
    drawn = drawn.resize(stored, Image.Resampling.NEAREST)
    drawn.getexif()[ORIENTATION] = orientation
    assert np.array_equal(mask, np.asarray(ImageOps.exif_transpose(drawn)))


@given(SIZES, SIZES, st.integers(1, 8))
def test_a_placement_is_right_or_refused(annotated: tuple[int, int], stored: tuple[int, int], orientation: int) -> None:
    """The annotated picture's corners become the shown picture's corners; sizes of another shape are refused."""
    shown = turned_size(stored, orientation)
    try:
        placement = placement_of(annotated, Header(stored, orientation))
    except ValueError:
        assert orientation != 1 or not _near(annotated, shown)
        return
    corners = placement.points(np.array([[0.0, 0.0], [float(annotated[0]), float(annotated[1])]]))
    assert sorted(corners[:, 0]) == pytest.approx([0, shown[0]]) and sorted(corners[:, 1]) == pytest.approx(
        [0, shown[1]]
    )
    assert placement.turn in (1, orientation)
    assert _near(turned_size(annotated, placement.turn), shown)


def _near(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether some factor turns one size into the other, up to rounding each side."""
    small, large = sorted((one, other), key=lambda size: size[0] * size[1])
    low = max((small[side] - 1) / large[side] for side in (0, 1))
    return low < min((small[side] + 1) / large[side] for side in (0, 1))


@given(st.lists(st.integers(0, 40_000), min_size=1, max_size=30))
def test_packed_runs_unpack_to_the_same(runs: list[int]) -> None:
    assert unpacked(packed(runs)) == runs


@given(st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=8), SIZES)
def test_any_packed_text_is_a_mask_or_refused(text: str, size: tuple[int, int]) -> None:
    annotation = {"segmentation": {"size": [size[1], size[0]], "counts": text}}
    try:
        mask = shape_of(annotation, size, Header(size, 1)).mask()
    except ValueError:
        return
    assert mask.shape == size[::-1] and set(np.unique(mask)) <= {0, 1}


def test_a_polygon_is_filled_by_the_even_odd_rule() -> None:
    """A triangle over half of a 4 × 4 square has the 6 pixels whose centers are inside; one polygon inside another
    as one ring leaves a hole.
    """
    assert polygon_mask(np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]]), (4, 4)).sum(axis=1).tolist() == [3, 2, 1, 0]
    ring = np.array([[0, 0], [6, 0], [6, 6], [0, 6], [0, 0], [2, 2], [4, 2], [4, 4], [2, 4], [2, 2]], dtype=np.float64)
    assert polygon_mask(ring, (6, 6)).sum() == 32
    outside = polygon_mask(np.array([[-9.0, -9.0], [99.0, -9.0], [99.0, 2.0], [-9.0, 2.0]]), (6, 4))
    assert outside.sum(axis=1).tolist() == [6, 6, 0, 0]


@pytest.mark.parametrize(
    ("annotation", "size", "header", "says"),
    [
        ({"bbox": [1, 1, 3, 2]}, (60, 40), Header((60, 60), 1), "for 60 × 40 pixels, but the picture has 60 × 60"),
        ({"bbox": [1, 1, 3, 2]}, None, Header((60, 40), 6), "has no `width` and `height`"),
        ({"bbox": [1, 1, 3, 2]}, (60, 60), Header((60, 60), 6), "its size does not show"),
        ({"bbox": [61, 1, 3, 2]}, (60, 40), Header((60, 40), 1), "lies outside of the picture"),
        ({"segmentation": {"size": [4, 6], "counts": [5, 2]}}, None, Header((6, 4), 1), "cover 7 pixels"),
        ({"segmentation": {"size": [4, 6], "counts": [24]}}, None, Header((6, 4), 1), "hold no pixel"),
        ({"segmentation": {"size": [4, 6], "counts": [-1, 25]}}, None, Header((6, 4), 1), "must be numbers of pixels"),
        ({"segmentation": {"size": [6, 4], "counts": [4, 20]}}, (6, 4), Header((6, 4), 1), "is for 4 × 6 pixels"),
        ({"segmentation": "all"}, (6, 4), Header((6, 4), 1), "must be a list of polygons or a run-length object"),
        ({"segmentation": [[1, 1, 2]]}, (6, 4), Header((6, 4), 1), "at least three x, y pairs"),
        ({}, (6, 4), Header((6, 4), 1), "an object needs `bbox` or `segmentation`"),
    ],
)
def test_other_differences_are_refused(
    annotation: dict[str, Any], size: tuple[int, int] | None, header: Header, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        shape_of(annotation, size, header)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(orientation=st.integers(1, 8), scale=st.sampled_from((1.0, 0.5)), kind=st.sampled_from(KINDS))
def test_masks_of_real_files_lie_on_the_object(orientation: int, scale: float, kind: str, tmp_path: Path) -> None:
    """A red box of stored pixels in a JPEG with EXIF: its mask has the same pixels, or the object is refused."""
    box, size = (40, 30, 100, 60), (400, 240)
    picture = Image.new("RGB", size, "white")
    ImageDraw.Draw(picture).rectangle((40, 30, 139, 89), fill="red")
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    picture.resize((round(400 * scale), round(240 * scale))).save(
        tmp_path / "a.jpg", quality=98, subsampling=0, exif=exif
    )
    value = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": size[0], "height": size[1]}],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, **annotation_of(kind, box, size)}],
    }
    (tmp_path / "a.json").write_text(json.dumps(value))
    if orientation in (2, 3, 4):
        with pytest.raises(InputError, match="store the picture upright"):
            open_user_set(tmp_path, [tmp_path / "a.json"])
        return
    data = open_user_set(tmp_path, [tmp_path / "a.json"])
    shown = np.asarray(data.picture("a.jpg")).astype(int)
    red = (shown[..., 0] > 200) & (shown[..., 1] < 80)
    mask = data.object_mask("a.jpg", 1) > 0.5
    assert mask.shape == red.shape and mask.sum() == 6000 * scale**2
    assert (red & mask).sum() >= 0.98 * red.sum() and (red & mask).sum() >= 0.98 * mask.sum()


def opened(folder: Path, image: dict[str, Any], objects: list[dict[str, Any]], picture: tuple[int, int]) -> DataSet:
    """A set of one picture of that size with these objects."""
    Image.new("RGB", picture, "white").save(folder / "a.png")
    value = {
        "images": [{"id": 1, "file_name": "a.png", **image}],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [{"id": at, "image_id": 1, "category_id": 1, **one} for at, one in enumerate(objects, 1)],
    }
    (folder / "a.json").write_text(json.dumps(value))
    return open_user_set(folder, [folder / "a.json"])


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    data=st.data(),
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=3),
    factor=st.sampled_from((1, 2)),
    sized=st.booleans(),
)
def test_objects_without_an_annotated_size_are_noted_or_left_out(
    data: st.DataObject, kinds: list[str], factor: int, sized: bool, tmp_path: Path
) -> None:
    """On pictures as they were annotated and on copies of half the size."""
    annotated, picture = (48, 32), (48 // factor, 32 // factor)
    drawn = [data.draw(boxes(annotated)) for _ in kinds]
    objects = [annotation_of(kind, box, annotated) for kind, box in zip(kinds, drawn, strict=True)]
    image = {"width": 48, "height": 32} if sized else {}
    guessed = {at for at, kind in enumerate(kinds, 1) if kind in ("bbox", "polygon") and not sized}
    reaches = [(x + width, y + height) for x, y, width, height in (drawn[at - 1] for at in guessed)]
    outside = any(right > picture[0] + 1 or bottom > picture[1] + 1 for right, bottom in reaches)
    if outside and guessed == set(range(1, len(kinds) + 1)):
        with pytest.raises(InputError, match="reach outside its picture, which may be a resized copy"):
            opened(tmp_path, image, objects, picture)
        return
    found = opened(tmp_path, image, objects, picture)
    here = set(found.object_ids("a.png"))
    if outside:
        assert not here & guessed and not found.notes and len(found.omissions) >= len(guessed)
    else:
        assert bool(found.notes) == bool(here & guessed)
        assert all("wrong for resized copies" in note for note in found.notes)
    for at in here - guessed:  # where the size is known, the mask is right on the copy too
        x, y, width, height = (side / factor for side in drawn[at - 1])
        mask = found.object_mask("a.png", at)
        if min(width, height) < 1 and not mask.any():
            continue  # less than a pixel of the copy
        rows, columns = np.nonzero(mask)
        assert columns.min() >= int(x) and columns.max() < x + width and rows.min() >= int(y)
        assert rows.max() < y + height and mask.sum() == pytest.approx(width * height, abs=width + height + 1)
