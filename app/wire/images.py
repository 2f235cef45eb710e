"""Opens uploaded pictures safely: size and format are read from the header before any pixel is decoded.

`picture_file` turns a picture into a file that can be opened again.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

from PIL import Image, ImageOps

from adafv_core.errors import ImageError
from adafv_core.images import to_rgb
from app.settings import Settings

FORMATS = ("PNG", "JPEG", "WEBP")
_ORIGINAL = "adafv_original"
_WANTED = "Use a PNG, JPEG or WebP picture."


def open_image(path: str | Path | None, settings: Settings) -> Image.Image:
    """The picture at `path`: RGB as `to_rgb` makes it, upright, first frame of an animation.

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
            with Image.open(file, formats=FORMATS) as opened:
                _check_header(opened, settings)
                picture = _decode(opened)
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


def _decode(opened: Image.Image) -> Image.Image:
    if getattr(opened, "n_frames", 1) > 1:
        opened.seek(0)
    return to_rgb(ImageOps.exif_transpose(opened))
