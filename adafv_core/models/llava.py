"""LLaVA-1.5: one square crop an image, no newline tokens (`LlavaForConditionalGeneration`)."""

from __future__ import annotations

from typing import Any

from adafv_core.grid import Box, square_box
from adafv_core.models.base import Adapter, PixelInputs
from adafv_core.types import Crop, TokenGrid


class LlavaAdapter(Adapter):
    """Every image is resized and center-cropped (or padded) to one square."""

    model_class = "LlavaForConditionalGeneration"
    model_type = "llava"

    def crop_counts(self, pixels: PixelInputs) -> list[int]:
        return [1] * int(pixels["pixel_values"].shape[0])

    def grid(self, pixels: PixelInputs, image: int, size: int, image_size: tuple[int, int] | None) -> TokenGrid:
        height, width = (int(side) for side in pixels["pixel_values"].shape[-2:])
        rows, cols = self.grid_side
        box: Box = (0.0, 0.0, float(width), float(height))
        if image_size is not None and self.processor is not None:
            box = shown_box(image_size, self.processor.image_processor)
        return TokenGrid(image_size or (width, height), (Crop("base", rows, cols, box, 0),))


def shown_box(image_size: tuple[int, int], image_processor: Any) -> Box:
    """The part of the original image (width, height), in its pixels, that this image processor shows the encoder."""
    size, crop = image_processor.size or {}, image_processor.crop_size or {}
    resized: tuple[int, int] | int | None = None
    if image_processor.do_resize:
        shortest = _side(size, "shortest_edge")
        resized = shortest if shortest else (_side(size, "width"), _side(size, "height"))
    cropped = (_side(crop, "width"), _side(crop, "height")) if image_processor.do_center_crop else None
    pads = bool(getattr(image_processor, "do_pad", False)) and hasattr(image_processor, "pad_to_square")
    return square_box(image_size, pad_to_square=pads, resized=resized, cropped=cropped)


def _side(size: Any, name: str) -> int:
    value = size.get(name) if hasattr(size, "get") else getattr(size, name, None)
    return int(value or 0)
