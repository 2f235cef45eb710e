"""Any picture as RGB, in one way for the library, the study and the page."""

from __future__ import annotations

import numpy as np
from PIL import Image

from adafv_core.errors import ImageError


def to_rgb(image: Image.Image) -> Image.Image:
    """The picture in mode RGB, 8 bits a channel: transparency laid on white, deep gray scaled down.

    Deep gray is mode I or I;16. Values up to 255 are 8-bit levels, which is how Pillow converts to these modes; where
    any is above, all are 16-bit levels (65,535 is white), of which the high byte stays, as Pillow reads color PNG
    files of 16 bits. Raises ImageError for values outside 0..65,535 and for mode F, whose range nothing tells, and
    what Pillow raises for a damaged file or a mode that it cannot convert (OSError, SyntaxError, ValueError).
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
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Deep gray as mode L, the one transparent value of a PNG file (its tRNS chunk) made white."""
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
