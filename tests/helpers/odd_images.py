"""Odd and hostile image files, made here: every format and mode, damage of every kind, and what each has to become."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from helpers.image_bomb import bomb
from PIL import Image, ImageCms, PngImagePlugin

RIGHT, REFUSED, EITHER = "right", "refused", "either"
ORIENTATION = 0x0112


@dataclass(frozen=True)
class OddImage:
    """One file. page: what the page makes of it: the right picture, a refusal, or either (then never another picture).
    library: the same of `read_picture`. whole: bytes of an undamaged file with the same picture.
    """

    name: str
    data: bytes
    page: str = RIGHT
    library: str = RIGHT
    whole: bytes | None = None
    exact: bool = True


def scene(width: int = 61, height: int = 43, mode: str = "RGB") -> Image.Image:
    """A picture of smooth color and sharp edges, with some transparency where the mode has any."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    values = np.stack([255 * x, 255 * y, 127 + 127 * np.sin(9 * x * y), 255 * (x + y > 0.5)], -1).astype(np.uint8)
    values[height // 3 : height // 2, width // 4 : width // 2, :3] = (250, 20, 90)
    picture = Image.fromarray(values)
    if mode == "I;16":
        return Image.fromarray((257 * values[..., 0].astype(np.uint32)).astype(np.uint16))
    return picture if mode == "RGBA" else picture.convert("RGB").quantize(16) if mode == "P" else picture.convert(mode)


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """The picture as a file of this format."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def claiming(data: bytes, width: int, height: int) -> bytes:
    """A JPEG file with other dimensions in its header."""
    at = 2
    while data[at + 1] not in (0xC0, 0xC1, 0xC2):
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def chunk(name: bytes, body: bytes) -> bytes:
    """One chunk of a PNG file."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


@cache
def odd_images() -> tuple[OddImage, ...]:
    """All of them."""
    makers = (_modes, _orientations, _truncated, _foreign, _sizes, _headers, _claims, _flipped)
    return tuple(one for maker in makers for one in maker())


def _modes() -> Iterator[OddImage]:
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        yield OddImage(f"{mode}.png", encoded(scene(mode=mode), "PNG"))
        for bits in (1, 2, 4) if mode == "P" else ():
            yield OddImage(f"P{bits}.png", encoded(scene().quantize(2**bits), "PNG", bits=bits))
    yield OddImage("clear-palette.png", encoded(scene(mode="P"), "PNG", transparency=3))
    yield OddImage("clear-color.png", encoded(scene(), "PNG", transparency=(250, 20, 90)))
    yield OddImage("clear-gray.png", encoded(scene(mode="L"), "PNG", transparency=9))
    yield OddImage("clear-deep.png", encoded(scene(mode="I;16"), "PNG", transparency=0))
    for mode in ("L", "RGB", "CMYK"):
        for progressive in (False, True):
            for subsampling in (0, 1, 2):
                options = {"progressive": progressive, "subsampling": subsampling, "quality": 90}
                yield OddImage(f"{mode}-{progressive}-{subsampling}.jpg", encoded(scene(mode=mode), "JPEG", **options))
    yield OddImage("restarts.jpg", encoded(scene(200, 120), "JPEG", restart_marker_blocks=3))
    for mode in ("RGB", "RGBA"):
        for lossless in (False, True):
            yield OddImage(f"{mode}-{lossless}.webp", encoded(scene(mode=mode), "WEBP", lossless=lossless))
    frames = [scene(), Image.new("RGB", (61, 43), "navy")]
    animated = {"save_all": True, "append_images": frames[1:]}
    yield OddImage("animated.webp", encoded(frames[0], "WEBP", lossless=True, **animated))
    yield OddImage("animated.png", encoded(frames[0], "PNG", **animated))
    yield OddImage("animated.gif", encoded(frames[0], "GIF", **animated), page=REFUSED)
    yield OddImage("two-pictures.mpo", encoded(frames[0], "MPO", **animated))


def _orientations() -> Iterator[OddImage]:
    for value in range(11):
        exif = Image.Exif()
        exif[ORIENTATION] = value
        for kind in ("JPEG", "PNG", "WEBP"):
            yield OddImage(f"turned-{value}.{kind.lower()}", encoded(scene(), kind, exif=exif))
    yield OddImage("nonsense-exif.jpg", encoded(scene(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + b"\x01" * 40))


def _truncated() -> Iterator[OddImage]:
    files = {
        "png": encoded(scene(120, 90), "PNG"),
        "jpg": encoded(scene(120, 90), "JPEG"),
        "progressive.jpg": encoded(scene(120, 90), "JPEG", progressive=True),
        "webp": encoded(scene(120, 90), "WEBP"),
        "lossless.webp": encoded(scene(120, 90), "WEBP", lossless=True),
    }
    for name, data in files.items():
        ends = {round(len(data) * part / 16) for part in range(16)} | {len(data) - 1, len(data) - 2, len(data) - 9, 3}
        for end in sorted(ends):
            yield OddImage(f"cut-{end}.{name}", data[:end], EITHER, EITHER, data)
        yield OddImage(f"longer.{name}", data + b"\0<script>1</script>" * 9, RIGHT, RIGHT, data)


def _foreign() -> Iterator[OddImage]:
    whole = encoded(scene(), "PNG")
    for kind in ("GIF", "BMP", "TIFF", "ICO", "PPM", "TGA", "PCX", "PDF", "EPS"):
        picture = scene(48, 48, "P") if kind == "GIF" else scene(48, 48)
        library = REFUSED if kind == "PDF" else EITHER
        yield OddImage(f"{kind.lower()}-inside.png", encoded(picture, kind), REFUSED, library, exact=False)
    yield OddImage("png-inside.jpg", whole)
    yield OddImage("jpeg-inside.webp", encoded(scene(), "JPEG"))
    yield OddImage("webp-inside.svg", encoded(scene(), "WEBP", lossless=True))
    texts = {
        "vector.png": b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>",
        "page.png": b"<!doctype html><script>1</script>",
        "empty.png": b"",
        "archive.png": b"PK\x03\x04" + b"\0" * 60,
        "zeros.png": b"\0" * 4_000,
        "noise.png": np.random.default_rng(1).bytes(4_000),
        "magic.png": whole[:8],
        "magic.jpg": b"\xff\xd8\xff",
        "magic.webp": b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        "other-magic.png": b"\xff\xd8\xff" + whole[3:],
        "other-magic.jpg": b"\x89PNG\r\n\x1a\n" + encoded(scene(), "JPEG"),
        "half-magic.webp": b"RIFF" + whole,
        "null.png": b"\0" + whole,
        "elf.png": b"\x7fELF" + bytes(range(256)),
    }
    for name, data in texts.items():
        yield OddImage(name, data, REFUSED, REFUSED)


def _sizes() -> Iterator[OddImage]:
    for width, height, page in ((1, 1, REFUSED), (1, 10_000, REFUSED), (10_000, 1, REFUSED), (2, 401, REFUSED)):
        for kind in ("PNG", "JPEG", "WEBP"):
            data = encoded(Image.new("RGB", (width, height), (9, 200, 77)), kind)
            yield OddImage(f"{width}x{height}.{kind.lower()}", data, page, RIGHT)
    for width, height in ((2, 2), (2, 400), (400, 2), (3, 7), (17, 16)):
        for kind in ("PNG", "JPEG", "WEBP"):
            yield OddImage(f"{width}x{height}.{kind.lower()}", encoded(scene(width, height), kind))
    for width, height in ((60_000, 60_000), (11_000, 11_000), (0, 5), (2**31 - 1, 2**31 - 1), (2**31 - 1, 1)):
        yield OddImage(f"bomb-{width}x{height}.png", bomb(width, height), REFUSED, REFUSED)
    whole = encoded(scene(), "JPEG")
    for width, height in ((65_500, 65_500), (65_500, 3_000), (0, 9), (9, 0)):
        yield OddImage(f"bomb-{width}x{height}.jpg", claiming(whole, width, height), REFUSED, REFUSED)


def _headers() -> Iterator[OddImage]:
    whole = encoded(scene(), "PNG")
    start, rest = whole[:33], whole[33:]
    for name, body in (
        ("comment", b"Comment\0" + b"<b>" * 300_000),
        ("long-name", b"n" * 70_000),
        ("packed-bomb", b"Comment\0\0" + zlib.compress(b"0" * 90_000_000, 9)),
    ):
        kind = b"zTXt" if name == "packed-bomb" else b"tEXt"
        yield OddImage(f"{name}.png", start + chunk(kind, body) + rest, EITHER, EITHER, whole)
    yield OddImage("1000-chunks.png", start + 1_000 * chunk(b"tEXt", b"a\0b") + rest)
    yield OddImage("unknown-chunk.png", start + chunk(b"evIl", b"${1}" * 99) + rest)
    yield OddImage("bad-check.png", whole[:29] + b"\0\0\0\0" + rest, REFUSED, REFUSED)
    yield OddImage("long-chunk.png", start + b"\x7f\xff\xff\xfftEXt" + rest, EITHER, EITHER, whole)
    yield OddImage("two-headers.png", start + start[8:] + rest, EITHER, EITHER, whole)
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta>" + "é" * 5_000)
    yield OddImage("xmp.png", encoded(scene(), "PNG", pnginfo=text))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for kind in ("PNG", "JPEG", "WEBP"):
        yield OddImage(f"profile.{kind.lower()}", encoded(scene(), kind, icc_profile=profile))
        yield OddImage(f"no-profile.{kind.lower()}", encoded(scene(), kind, icc_profile=b"\xff" * 9_000))
    jpeg = encoded(scene(), "JPEG")
    segment = b"\xff\xe5" + struct.pack(">H", 65_000) + b"\xff" * 64_998
    yield OddImage("60-segments.jpg", jpeg[:2] + 60 * segment + jpeg[2:])
    yield OddImage("filled.jpg", jpeg[:2] + b"\xff" * 5_000 + jpeg[2:], EITHER, EITHER, jpeg)
    yield OddImage("thumbnail.jpg", jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(jpeg) + 2) + jpeg + jpeg[2:])


def _claims() -> Iterator[OddImage]:
    """JPEG files whose header claims more or fewer blocks than there are."""
    for progressive in (False, True):
        for mode in ("RGB", "L"):
            data = encoded(scene(160, 120, mode), "JPEG", progressive=progressive)
            for width, height in ((160, 240), (160, 60), (160, 136), (160, 88), (320, 120), (80, 120), (192, 120)):
                name = f"claims-{width}x{height}-{mode}-{progressive}.jpg"
                yield OddImage(name, claiming(data, width, height), REFUSED, REFUSED)


def _flipped() -> Iterator[OddImage]:
    rng = np.random.default_rng(2)
    for kind in ("PNG", "JPEG", "WEBP"):
        whole = encoded(scene(), kind)
        for number in range(10):
            data = bytearray(whole)
            data[int(rng.integers(40, len(data)))] ^= 1 << int(rng.integers(8))
            yield OddImage(f"flip-{number}.{kind.lower()}", bytes(data), EITHER, EITHER, whole, exact=kind == "PNG")
