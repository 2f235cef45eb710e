"""Pictures a caller hands to the engine: the same picture is the same whatever it comes as."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.image_bomb import bomb
from helpers.models_shared import QUESTIONS, engine_of
from helpers.tiny_models import picture
from PIL import Image

from adafv_core.errors import ImageError
from adafv_core.images import read_picture
from adafv_core.study.data.image_folder import open_picture
from app.settings import Settings
from app.wire.images import open_image

DEEP = np.linspace(0, 65_535, 48, dtype=np.uint16).reshape(6, 8)
"""A ramp of 16-bit gray."""


def colors(image: object) -> np.ndarray:
    """(height, width, 3) uint8: what the library reads."""
    return np.asarray(read_picture(image).image)


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


OTHER = [((4, 4), "float32"), ((4, 4, 1), "uint8"), ((4, 4, 5), "uint8"), (4, "uint8"), ((4, 4, 3), "uint16")]


@pytest.mark.parametrize(("shape", "dtype"), OTHER)
def test_other_arrays_are_refused_with_the_shapes_that_are_not(shape: tuple[int, ...], dtype: str) -> None:
    with pytest.raises(ImageError, match=r"\(height, width, 3\).* gray \(height, width\), or .*uint16; got"):
        read_picture(np.zeros(shape, dtype))


def test_a_gray_array_without_pixels() -> None:
    with pytest.raises(ImageError, match="empty"):
        read_picture(np.zeros((0, 4), np.uint8))


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_sixteen_bits_become_eight(mode: str) -> None:
    """The high byte, in every mode that holds 16 bits: not white, which is what cutting off at 255 gives."""
    values = {"I;16": DEEP, "I;16B": DEEP.astype(">u2"), "I": DEEP.astype(np.int32)}[mode]
    image = Image.fromarray(values)
    assert image.mode == mode
    assert np.array_equal(colors(image), np.stack([DEEP >> 8] * 3, -1))


def test_a_deep_picture_is_the_same_whatever_it_comes_as(tmp_path: Path) -> None:
    """An array, a PIL image, a file, and the page's and the study's own way of opening that file."""
    file = tmp_path / "deep.png"
    image = Image.fromarray(DEEP)
    image.save(file)
    opened = (open_image(file, Settings()), open_picture(file))
    assert len({read_picture(one).key for one in (DEEP, image, file, Image.open(file), *opened)}) == 1
    assert colors(file).min() == 0 and colors(file).max() == 255


def test_eight_bits_in_a_deep_mode_stay_as_they_are() -> None:
    gray = picture(8, 6).convert("L")
    assert all(read_picture(gray.convert(mode)).key == read_picture(gray).key for mode in ("I", "I;16"))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.full((4, 4), 0.5, np.float32), r"mode F.*scale them to 0\.\.255 and pass them as uint8"),
        (np.full((4, 4), 70_000, np.int32), r"from 70000 to 70000; expected 0\.\.255 or 0\.\.65535"),
        (np.full((4, 4), -1, np.int32), "from -1 to -1"),
    ],
)
def test_values_of_no_known_range_are_refused(values: np.ndarray, said: str, tmp_path: Path) -> None:
    image = Image.fromarray(values)
    image.save(tmp_path / "deep.tiff")
    for one in (image, tmp_path / "deep.tiff"):
        with pytest.raises(ImageError, match=said):
            read_picture(one)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB", "L", "I;16"])
def test_transparency_is_laid_on_white(mode: str, tmp_path: Path) -> None:
    """Left half clear over a hidden color: by opacity, by a palette's clear entry, or by the file's clear color."""
    file = tmp_path / "clear.png"
    clear: dict[str, object] = {"RGB": {"transparency": (200, 0, 0)}, "L": {"transparency": 60}}.get(mode, {})
    if mode == "I;16":
        values = np.full((6, 8), 30_000, np.uint16)
        values[:, :4] = 50_000
        image, clear = Image.fromarray(values), {"transparency": 50_000}
    else:
        image = Image.new("RGBA", (8, 6), (0, 0, 90, 255))
        image.paste((200, 0, 0, 0), (0, 0, 4, 6))
        image = image.quantize(4) if mode == "P" else image.convert(mode)
    image.save(file, **clear)
    for one in (file, Image.open(file), open_image(file, Settings()), open_picture(file)):
        assert (colors(one)[:, :4] == 255).all() and (colors(one)[:, 4:, :2] < 130).all()


def test_an_array_with_opacity_is_such_a_picture() -> None:
    image = Image.new("RGBA", (8, 6), (200, 0, 0, 0))
    image.paste((0, 0, 90, 128), (0, 0, 4, 6))
    assert read_picture(np.asarray(image)).key == read_picture(image).key
    assert colors(image)[0, 0].tolist() == [127, 127, 172] and colors(image)[0, 7].tolist() == [255] * 3


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_file_of_far_too_many_pixels_names_the_limit(tmp_path: Path) -> None:
    """Also where Pillow itself refuses to open it."""
    for side in (11_000, 60_000):
        (tmp_path / "bomb.png").write_bytes(bomb(side, side))
        with pytest.raises(ImageError, match=r"bomb\.png.* pixels; make it smaller, to 100,000,000 at most\.$"):
            read_picture(tmp_path / "bomb.png")
