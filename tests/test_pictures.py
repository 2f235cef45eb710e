"""Pictures a caller hands to the engine: the same picture is the same whatever it comes as."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from models_shared import QUESTIONS, engine_of
from PIL import Image
from tiny_models import picture

from adafv_core.errors import ImageError
from adafv_core.models.pictures import read_picture


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_is_read_as_pillow_opens_it(kind: type, tmp_path: Path) -> None:
    engine = engine_of("llava")
    for name, mode in (("a.png", "RGBA"), ("b.jpg", "L"), ("c.webp", "RGB")):
        file = tmp_path / name
        picture(80, 60).convert(mode).save(file)
        visual = engine.encode(kind(file))
        assert visual is engine.encode(Image.open(file))
        mine, stock = (engine.answer(one, QUESTIONS[0], max_new_tokens=2) for one in (kind(file), Image.open(file)))
        assert mine.token_ids == stock.token_ids


def test_a_turn_that_exif_speaks_of_is_treated_alike(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    picture(80, 60).save(tmp_path / "turned.jpg", exif=turned)
    found = read_picture(tmp_path / "turned.jpg")
    assert found.image.size == (80, 60) and found.key == read_picture(Image.open(tmp_path / "turned.jpg")).key


def test_a_gray_array_is_a_gray_picture() -> None:
    gray = picture(80, 60).convert("L")
    assert read_picture(np.asarray(gray)).key == read_picture(gray).key


@pytest.mark.parametrize("content", [None, b"", b"<svg/>", b"\x89PNG\r\n\x1a\n", "cut", "folder"])
def test_a_file_that_is_no_picture(content: bytes | str | None, tmp_path: Path) -> None:
    file = tmp_path / "file.png"
    if content == "folder":
        file.mkdir()
    elif content == "cut":
        picture(80, 60).save(file)
        file.write_bytes(file.read_bytes()[:200])
    elif isinstance(content, bytes):
        file.write_bytes(content)
    with pytest.raises(ImageError, match=r"no picture file .*file\.png|file\.png.* cannot be read") as caught:
        read_picture(str(file))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("array", [np.zeros((4, 4), np.float32), np.zeros((4, 4, 4), np.uint8), np.zeros(4, np.uint8)])
def test_other_arrays_are_refused_with_the_shapes_that_are_not(array: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"\(height, width, 3\), or gray \(height, width\), uint8; got"):
        read_picture(array)


def test_a_gray_array_without_pixels() -> None:
    with pytest.raises(ImageError, match="empty"):
        read_picture(np.zeros((0, 4), np.uint8))
