"""Opens uploaded pictures safely: size and format are read from the header before any pixel is decoded.

Very large ones are decoded at half or a quarter of their size where the model's processor shrinks them anyway.
`picture_file` turns a picture into a file that can be opened again.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

from PIL import Image, ImageOps

from adafv_core.errors import ImageError
from adafv_core.images import load_whole, open_file, to_rgb
from app.settings import Settings

FORMATS = ("PNG", "JPEG", "WEBP")
FULL_PIXELS = 16_000_000
"""Pictures of up to this many pixels are decoded in full."""
_STILL_LARGER = 2
"""The shorter side of a reduced picture is at least this many times the side of what the processor keeps."""
_ORIGINAL = "adafv_original"
_PROFILE = "icc_profile"
_WANTED = "Use a PNG, JPEG or WebP picture."


def open_image(
    path: str | Path | None,
    settings: Settings,
    kept_pixels: int | None = None,
    size: tuple[int, int] | None = None,
) -> Image.Image:
    """The picture at `path`: RGB as `to_rgb` makes it, upright, first frame of an animation.

    kept_pixels: how many pixels of a picture the model's processor keeps, None if unknown. A picture of more than
    FULL_PIXELS is reduced by 2 or 4, to at most that many, where even its shorter side is then twice that of a
    square of kept_pixels: JPEG while it is decoded (`draft`), other formats after it. size: reduce to this size
    instead, if that is one of these.
    A large one keeps its file's bytes in its `info`, since as a PNG it could be too large to be opened again.
    Raises ImageError with one sentence if the file is missing, too large, truncated, or not a picture.
    """
    if path is None or str(path) == "":
        raise ImageError("There is no image yet: upload, paste or photograph one, or choose an example.")
    file = Path(path)
    try:
        size_bytes = file.stat().st_size
    except OSError:
        raise ImageError(
            "The image is no longer on the server (uploads are deleted after a while): send it again."
        ) from None
    if size_bytes > settings.max_image_bytes:
        raise ImageError(
            f"The file has {size_bytes / 1e6:.1f} MB; at most {settings.max_image_bytes / 1e6:.1f} MB are taken. "
            "Send a smaller copy."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with open_file(file, FORMATS) as opened:
                _check_header(opened, settings)
                picture = _decode(opened, _factor(opened.size, kept_pixels, size))
                if 3 * picture.width * picture.height > settings.max_image_bytes:
                    picture.info[_ORIGINAL] = (f"image/{str(opened.format).lower()}", file.read_bytes())
                return picture
        except ImageError:
            raise
        except Image.DecompressionBombError:
            raise ImageError(f"The image has far too many pixels; at most {_millions(settings)} are taken.") from None
        except Image.UnidentifiedImageError:
            raise ImageError(f"This file is not a picture that can be read here. {_WANTED}") from None
        except (OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError, MemoryError):
            raise ImageError(f"This picture is damaged or incomplete and could not be read. {_WANTED}") from None


def picture_file(picture: Image.Image, most_bytes: int) -> tuple[str, bytes]:
    """Media type and bytes of a file with this picture: a PNG, or the original file if the PNG would be too large."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    if buffer.tell() <= most_bytes or _ORIGINAL not in picture.info:
        return "image/png", buffer.getvalue()
    kind, data = picture.info[_ORIGINAL]
    return str(kind), bytes(data)


def _check_header(opened: Image.Image, settings: Settings) -> None:
    width, height = opened.size
    if width < 2 or height < 2:
        raise ImageError(f"The image is {width} × {height} pixels; at least 2 × 2 are needed.")
    if width * height > settings.max_image_pixels:
        raise ImageError(
            f"The image is {width} × {height} pixels; at most {_millions(settings)} are taken. Send a smaller copy."
        )
    if max(width, height) > 200 * min(width, height):
        raise ImageError(
            f"The image is {width} × {height} pixels; sides may differ by a factor of 200 at most. Crop it first."
        )


def _millions(settings: Settings) -> str:
    return f"{settings.max_image_pixels / 1e6:g} million pixels"


def held_bytes(picture: Image.Image) -> int:
    """Memory of a picture from `open_image`: its pixels, as Pillow stores them, and what it keeps of its file."""
    _, original = picture.info.get(_ORIGINAL, ("", b""))
    return 4 * picture.width * picture.height + len(original) + len(picture.info.get(_PROFILE, b""))


def _factor(size: tuple[int, int], kept_pixels: int | None, wanted: tuple[int, int] | None) -> int:
    """By how much a picture of this size is reduced: 1, 2 or 4."""
    pixels = size[0] * size[1]
    if wanted is not None:
        sides = {factor: sorted(_reduced(size, factor)) for factor in (1, 2, 4)}
        return next((factor for factor in sides if sides[factor] == sorted(wanted)), 1)
    if pixels <= FULL_PIXELS or kept_pixels is None:
        return 1
    factor = 2 if pixels <= 4 * FULL_PIXELS else 4
    return factor if min(_reduced(size, factor)) >= _STILL_LARGER * kept_pixels**0.5 else 1


def _reduced(size: tuple[int, int], factor: int) -> tuple[int, int]:
    """The size that `draft` and `reduce` leave."""
    return -(-size[0] // factor), -(-size[1] // factor)


def _decode(opened: Image.Image, factor: int) -> Image.Image:
    if getattr(opened, "n_frames", 1) > 1:
        opened.seek(0)
    whole = opened.size
    if factor > 1 and opened.format in ("JPEG", "MPO"):
        opened.draft(None, (whole[0] // factor, whole[1] // factor))
    load_whole(opened)
    profile = opened.info.get(_PROFILE)
    picture = to_rgb(ImageOps.exif_transpose(opened))
    if factor > 1 and opened.size == whole:
        picture = picture.reduce(factor)
    # Comments, thumbnails and camera data of a file can be megabytes, and tell where it was taken.
    picture.info = {} if profile is None else {_PROFILE: profile}
    return picture
