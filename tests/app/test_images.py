"""Every picture from outside becomes a right RGB picture or one clear sentence, and is checked before it is decoded."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.image_bomb import bomb
from PIL import Image, ImageCms

from adafv_core.errors import ImageError
from app.settings import Settings
from app.wire.images import open_image

SETTINGS = Settings(max_image_pixels=1_000_000, max_image_bytes=2_000_000)


def save(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def test_plain_pictures_of_each_format(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "a.webp"):
        opened = open_image(save(Image.new("RGB", (40, 30), (200, 30, 40)), tmp_path / name), SETTINGS)
        assert (opened.mode, opened.size) == ("RGB", (40, 30))
        assert all(abs(a - b) < 12 for a, b in zip(opened.getpixel((5, 5)), (200, 30, 40), strict=True))


def test_unusual_modes_keep_their_look(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert open_image(save(clear, tmp_path / "clear.png"), SETTINGS).getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("RGB", (8, 8), (10, 200, 90)).quantize(4)
    assert open_image(save(palette, tmp_path / "p.png"), SETTINGS).getpixel((0, 0)) == (10, 200, 90)
    cmyk = Image.new("RGB", (8, 8), (0, 0, 255)).convert("CMYK")
    red, _, blue = open_image(save(cmyk, tmp_path / "c.jpg"), SETTINGS).getpixel((4, 4))  # type: ignore[misc]
    assert blue > 200 > 60 > red
    deep = Image.new("I;16", (8, 8), 40_000)
    level = open_image(save(deep, tmp_path / "deep.png"), SETTINGS).getpixel((0, 0))
    assert level == (156, 156, 156)
    assert open_image(save(Image.new("1", (8, 8), 1), tmp_path / "bw.png"), SETTINGS).getpixel((0, 0)) == (255,) * 3


def test_a_camera_s_turned_picture_stands_upright(tmp_path: Path) -> None:
    turned = Image.new("RGB", (40, 20), "white")
    turned.paste("red", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[274] = 6
    opened = open_image(save(turned, tmp_path / "t.jpg", exif=exif, quality=95), SETTINGS)
    assert opened.size == (20, 40)
    assert opened.getpixel((10, 5))[1] < 60 < 200 < opened.getpixel((10, 35))[1]  # type: ignore[index]


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    path = save(frames[0], tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    assert open_image(path, SETTINGS).getpixel((0, 0)) == (255, 0, 0)


def test_a_color_profile_does_no_harm(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = save(Image.new("RGB", (8, 8), "green"), tmp_path / "icc.png", icc_profile=profile)
    assert open_image(path, SETTINGS).getpixel((0, 0)) == (0, 128, 0)


def broken_files(folder: Path) -> list[tuple[Path, str]]:
    whole = save(Image.effect_noise((200, 200), 90).convert("RGB"), folder / "whole.png").read_bytes()
    made = {
        "cut.png": (whole[: len(whole) // 2], "damaged or incomplete"),
        "bomb.png": (bomb(60_000, 60_000), "pixels"),
        "large.png": (bomb(4_000, 4_000), "at most 1 million pixels"),
        "vector.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        "page.png": (b"<html><script>1</script></html>", "not a picture"),
        "empty.png": (b"", "not a picture"),
        "film.gif": (b"GIF89a\x01\x00\x01\x00\x00\x00\x00;", "not a picture"),
        "heavy.png": (b"0" * 2_000_001, "MB"),
    }
    for name, (data, _) in made.items():
        (folder / name).write_bytes(data)
    made_files = [(folder / name, said) for name, (_, said) in made.items()]
    save(Image.new("RGB", (1, 1)), folder / "dot.png")
    save(Image.new("RGB", (2, 10_000)), folder / "thread.png")
    save(Image.new("RGB", (8, 8)), folder / "picture.bmp")
    more = [
        ("dot.png", "at least 2"),
        ("thread.png", "factor"),
        ("picture.bmp", "not a picture"),
        ("none.png", "send it again"),
    ]
    return made_files + [(folder / name, said) for name, said in more]


def test_broken_and_foreign_files_get_one_sentence(tmp_path: Path) -> None:
    for path, said in broken_files(tmp_path):
        with pytest.raises(ImageError, match=said) as raised:
            open_image(path, SETTINGS)
        assert str(tmp_path) not in str(raised.value), path.name


def test_nothing_is_decoded_when_the_header_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(bomb(4_000, 4_000))
    loads: list[object] = []
    monkeypatch.setattr(Image.Image, "load", lambda self: loads.append(self))
    with pytest.raises(ImageError):
        open_image(path, SETTINGS)
    assert loads == []


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_image_says_what_to_do(nothing: str | None) -> None:
    with pytest.raises(ImageError, match="upload, paste or photograph"):
        open_image(nothing, SETTINGS)
