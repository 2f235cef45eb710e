"""Pictures a caller hands over, checked and named by content; and the cache of what was encoded."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from adafv_core.errors import ImageError
from adafv_core.limits import MAX_PIXELS
from adafv_core.rgb import to_rgb
from adafv_core.types import VisualTokens

_SMALLER = f"make it smaller, to {MAX_PIXELS:,} at most."
_CHANNELS = {np.dtype(np.uint8): ((), (3,), (4,)), np.dtype(np.uint16): ((),)}


@dataclass(frozen=True)
class Picture:
    """An RGB picture and the hash of its size and pixels."""

    image: Image.Image
    key: str


def read_picture(image: object) -> Picture:
    """Check one picture: a PIL image, the path of a file, or an array: uint8, (height, width, 3), with opacity
    (height, width, 4) or gray (height, width); or gray of 16 bits, uint16.

    However it comes, transparency is laid on white and 16 bits are scaled to 8, as `to_rgb` says. A file is read as
    `PIL.Image.open` gives it: a turn that only its EXIF data speak of is not made, neither for a path nor for a PIL
    image (`PIL.ImageOps.exif_transpose` makes it). Raises ImageError for anything else, a file that is missing or no
    picture, several pictures, an empty one, one whose range of values nothing tells (mode F), or one above 100
    million pixels (`limits.MAX_PIXELS`).
    """
    if image is None:
        raise ImageError("No image was given; expected one PIL image, path, or (height, width, 3) uint8 array.")
    if isinstance(image, list | tuple):
        raise ImageError(f"Expected one image, got {len(image)}; ask about one image at a time.")
    if isinstance(image, str | Path):
        return _from_file(image)
    if isinstance(image, np.ndarray):
        if image.ndim < 2 or image.shape[2:] not in _CHANNELS.get(image.dtype, ()):
            raise ImageError(
                "Expected a uint8 array of shape (height, width, 3), (height, width, 4) or gray (height, width), "
                f"or a gray one of uint16; got {image.shape} {image.dtype}."
            )
        if 0 in image.shape:
            raise ImageError(f"The image is empty: its shape is {image.shape}.")
        image = Image.fromarray(image)
    if not isinstance(image, Image.Image):
        kind = type(image).__name__
        raise ImageError(f"Expected a PIL image, a path, a uint8 array, or VisualTokens from `encode`; got {kind}.")
    if image.width * image.height == 0:
        raise ImageError(f"The image is empty: its size is {image.width} × {image.height}.")
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(f"The image has {image.width} × {image.height} pixels; {_SMALLER}")
    try:
        rgb = to_rgb(image)
    except ImageError:
        raise
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError(f"The image cannot be read: {error}.") from error
    digest = hashlib.sha256(f"{rgb.width}x{rgb.height}:".encode())
    digest.update(rgb.tobytes())
    return Picture(rgb, digest.hexdigest())


def _from_file(path: str | Path) -> Picture:
    try:
        with Image.open(path) as opened:
            return read_picture(opened)
    except FileNotFoundError:
        raise ImageError(f"There is no picture file {str(path)!r}; give the path of one, or a PIL image.") from None
    except ImageError as error:
        raise ImageError(f"{str(path)!r}: {error}") from error
    except Image.DecompressionBombError:
        raise ImageError(f"{str(path)!r}: The image has far too many pixels; {_SMALLER}") from None
    except (OSError, ValueError) as error:
        raise ImageError(f"{str(path)!r} cannot be read as a picture ({error}).") from error


class VisualCache:
    """Encoded images by content, the least recently used dropped once they hold more than `max_bytes`.

    misses: how many images had to be encoded so far.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.misses = 0
        self._kept: OrderedDict[str, VisualTokens] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> VisualTokens | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, visual: VisualTokens) -> None:
        with self._lock:
            old = self._kept.pop(visual.image_key, None)
            if old is not None:
                self.bytes -= size_bytes(old)
            self._kept[visual.image_key] = visual
            self.bytes += size_bytes(visual)
            self.misses += 1
            while self.bytes > self.max_bytes and self._kept:
                _, dropped = self._kept.popitem(last=False)
                self.bytes -= size_bytes(dropped)

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()
            self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)


def size_bytes(visual: VisualTokens) -> int:
    """Bytes of device memory behind an encoded image, shared storage counted once."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in _tensors(visual)}
    return sum(storages.values())


def _tensors(visual: VisualTokens) -> Iterator[Tensor]:
    for field in fields(visual):
        value = getattr(visual, field.name)
        if isinstance(value, Tensor):
            yield value
