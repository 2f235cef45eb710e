"""Checks a caller's picture, converts it to RGB and hashes it: once, and the same way for the library and the page."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageFile

from adafv_core.errors import ImageError
from adafv_core.jpeg import JpegData, is_jpeg

# NumPy is imported lazily: command lines read MAX_PIXELS for their help text and must respond at once.
if TYPE_CHECKING:
    import numpy as np

MAX_PIXELS = 100_000_000
"""The most pixels that a picture may have."""

_SMALLER = f"make it smaller, to {MAX_PIXELS:,} at most."
_STRIP_BYTES = 1 << 20
_CHANNELS = {"uint8": ((), (3,), (4,)), "uint16": ((),)}


@dataclass(frozen=True)
class Picture:
    """An RGB picture and the SHA-256 of its size and pixels, which identifies it everywhere."""

    image: Image.Image
    key: str


def read_picture(image: object) -> Picture:
    """Check one picture, convert it to RGB and hash it.

    image: a PIL image, the path of a file, or an array: uint8 of shape (height, width, 3), (height, width, 4) with
    an alpha channel or (height, width) gray, or 16-bit gray as uint16. A Picture is returned unchanged.

    Transparent pixels are blended with white and 16 bits scaled to 8, as in `to_rgb`. EXIF rotation is not applied,
    neither to a file nor to a PIL image (use `PIL.ImageOps.exif_transpose` for that). Raises ImageError for anything
    else, a missing or unreadable file, a JPEG file whose data do not fill the size that it claims, several pictures, an
    empty one, one of unknown value range (mode F), or one with more than 100 million pixels (`MAX_PIXELS`).
    """
    import numpy as np

    if isinstance(image, Picture):
        return image
    if image is None:
        raise ImageError("No image was given; expected one PIL image, path, or (height, width, 3) uint8 array.")
    if isinstance(image, list | tuple):
        raise ImageError(f"Expected one image, got a list of {len(image)}.")
    if isinstance(image, str | Path):
        return _from_file(image)
    if isinstance(image, np.ndarray):
        image = _from_array(image)
    if not isinstance(image, Image.Image):
        kind = type(image).__name__
        raise ImageError(f"Expected a PIL image, a path, a uint8 array, or VisualTokens from `encode`; got {kind}.")
    if image.width * image.height == 0:
        raise ImageError(f"The image is empty: its size is {image.width} × {image.height}.")
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(f"The image has {image.width} × {image.height} pixels; {_SMALLER}")
    try:
        load_whole(image)
        rgb = to_rgb(image)
    except ImageError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise ImageError(f"The image cannot be read: {error}.") from error
    return Picture(rgb, _key(rgb))


def open_file(path: str | Path, formats: tuple[str, ...] | None = None) -> Image.Image:
    """A picture file, its header read and nothing decoded yet; close it, or use it as a context manager.

    formats: those that Pillow may try, by its names. Raises what `PIL.Image.open` raises. Decode with `load_whole`.
    """
    with Path(path).open("rb") as file:
        start = file.read(3)
        source = JpegData(start + file.read()) if is_jpeg(start) else path
    return Image.open(source, formats=formats)


def load_whole(image: Image.Image) -> None:
    """Decode a picture. Raises ImageError for one from `open_file` that is a JPEG of another size than it claims, and
    whatever Pillow raises for a damaged file."""
    source = getattr(image, "fp", None)
    if isinstance(image, ImageFile.ImageFile) and isinstance(source, JpegData):
        source.load(image)
    else:
        image.load()


def to_rgb(image: Image.Image) -> Image.Image:
    """The picture in mode RGB, 8 bits per channel: transparency blended with white, 16-bit gray scaled down.

    An opaque RGB picture is decoded and returned itself. In modes I and I;16, values are 8-bit levels if none is above
    255, which is how Pillow converts to these modes; otherwise all are 16-bit levels (65,535 is white), of which the
    high byte is kept, as Pillow reads 16-bit color PNG files. Raises ImageError for values outside 0..65,535 and for
    mode F, whose value range is unknown, and whatever Pillow raises for a damaged file or a mode it cannot convert
    (OSError, SyntaxError, ValueError).
    """
    if image.mode == "F":
        raise ImageError(
            "The picture holds floating point numbers (mode F), which do not say what white is; "
            "scale them to 0..255 and pass them as uint8."
        )
    if image.mode.startswith("I"):
        image = _eight_bits(image)
    if image.has_transparency_data:
        ground = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
    if image.mode == "RGB":
        image.load()
        return image
    return image.convert("RGB")


def _from_array(array: np.ndarray) -> Image.Image:
    if array.ndim < 2 or array.shape[2:] not in _CHANNELS.get(array.dtype.name, ()):
        raise ImageError(
            "Expected a uint8 array of shape (height, width, 3), (height, width, 4) or gray (height, width), "
            f"or a gray one of uint16; got {array.shape} {array.dtype}."
        )
    if 0 in array.shape:
        raise ImageError(f"The image is empty: its shape is {array.shape}.")
    return Image.fromarray(array)


def _from_file(path: str | Path) -> Picture:
    try:
        with open_file(path) as opened:
            return read_picture(opened)
    except FileNotFoundError:
        raise ImageError(f"There is no picture file {str(path)!r}; give the path of one, or a PIL image.") from None
    except ImageError as error:
        raise ImageError(f"{str(path)!r}: {error}") from error
    except Image.DecompressionBombError:
        raise ImageError(f"{str(path)!r}: The image has far too many pixels; {_SMALLER}") from None
    except (OSError, ValueError) as error:
        raise ImageError(f"{str(path)!r} cannot be read as a picture ({error}).") from error


def _key(rgb: Image.Image) -> str:
    """SHA-256 of the size and the pixels, read in strips: a large picture is not held twice."""
    digest = hashlib.sha256(f"{rgb.width}x{rgb.height}:".encode())
    rows = max(1, _STRIP_BYTES // (3 * rgb.width))
    for top in range(0, rgb.height, rows):
        digest.update(rgb.crop((0, top, rgb.width, min(rgb.height, top + rows))).tobytes())
    return digest.hexdigest()


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit gray as mode L, with the transparent value of a PNG file (its tRNS chunk) turned white."""
    import numpy as np

    image.load()
    values = np.asarray(image)
    lowest, highest = int(values.min()), int(values.max())
    if lowest < 0 or highest > 65_535:
        raise ImageError(
            f"The picture holds values from {lowest} to {highest}; expected 0..255 or 0..65535, scale them so."
        )
    levels = (values >> 8 if highest > 255 else values).astype(np.uint8)
    if "transparency" in image.info:
        levels[values == image.info["transparency"]] = 255
    return Image.fromarray(levels)
