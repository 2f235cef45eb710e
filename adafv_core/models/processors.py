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


def kept_pixels(image_processor: Any) -> int | None:
    """The most pixels of one image that this image processor hands to the encoder; None if it is not known.

    Larger images are shrunk to that, so that what they have beyond a multiple of it is never seen.
    """
    size = dict(image_processor.size or {})
    side = size.get("shortest_edge") or size.get("height")
    if getattr(image_processor, "merge_size", None) is not None:  # Qwen: limits of the area, not of sides
        found = size.get("longest_edge")
    elif pinpoints := getattr(image_processor, "image_grid_pinpoints", None):
        found = max(height * width for height, width in pinpoints)
    elif getattr(image_processor, "crop_to_patches", False):
        found = None if side is None else side**2 * image_processor.max_patches
    elif getattr(image_processor, "do_image_splitting", False):
        found = None if size.get("longest_edge") is None else size["longest_edge"] ** 2
    elif "longest_edge" in size:
        found = None
    else:
        found = None if side is None else side**2
    return None if found is None else int(found)
