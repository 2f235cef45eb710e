"""What stock processors do to a picture, and stock processor classes for still images."""

from __future__ import annotations

from typing import Any

from adafv_core.errors import InputError
from adafv_core.grid import Box, square_box


def shown_box(image_size: tuple[int, int], image_processor: Any) -> Box:
    """The part of the original image (width, height), in its pixels, that this image processor shows the encoder."""
    size, crop = dict(image_processor.size or {}), dict(image_processor.crop_size or {})
    resized: tuple[int, int] | int | None = None
    if image_processor.do_resize:
        resized = size.get("shortest_edge") or (size.get("width") or 0, size.get("height") or 0)
    cropped = (crop.get("width") or 0, crop.get("height") or 0) if image_processor.do_center_crop else None
    pads = bool(getattr(image_processor, "do_pad", False)) and hasattr(image_processor, "pad_to_square")
    return square_box(image_size, pad_to_square=pads, resized=resized, cropped=cropped)


def stills(stock: Any) -> Any:
    """A stock processor class without its video side, which alone would need torchvision. Files it saves name the stock
    class. Calling it with videos raises InputError.
    """

    def get_attributes(cls: Any) -> list[str]:
        return ["image_processor", "tokenizer"]

    def call(self: Any, images: Any = None, text: Any = None, videos: Any = None, **options: Any) -> Any:
        if videos is not None:
            raise InputError("Visual tokens are pruned in still images; leave videos out, or pass frames as images.")
        return stock.__call__(self, images=images, text=text, **options)

    overridden = {"get_attributes": classmethod(get_attributes), "__call__": call, "__module__": stock.__module__}
    return type(stock.__name__, (stock,), overridden)
