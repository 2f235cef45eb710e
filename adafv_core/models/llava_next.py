"""LLaVA-NeXT (1.6): a base crop, and tiles chosen by aspect ratio (`LlavaNextForConditionalGeneration`)."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers.models.llava_next.modeling_llava_next import (
    get_anyres_image_grid_shape,
    image_size_to_num_patches,
    unpad_image,
)

from adafv_core.grid import unpadded_box
from adafv_core.models.base import Adapter, PixelInputs
from adafv_core.types import Crop, TokenGrid


class LlavaNextAdapter(Adapter):
    """The LLM sees the base crop, then the tiles stitched row by row and unpadded, with a newline token after each row.
    Unpadding may leave no tile tokens of a very wide or tall picture; its grid is the base crop alone.
    """

    model_class = "LlavaNextForConditionalGeneration"
    model_type = "llava_next"

    def crop_counts(self, pixels: PixelInputs) -> list[int]:
        return [self._crops(pixels, image) for image in range(len(pixels["image_sizes"]))]

    def _crops(self, pixels: PixelInputs, image: int) -> int:
        size = _height_width(pixels, image)
        count = image_size_to_num_patches(size, self._pinpoints, self.vision_config.image_size)
        return int(count)

    @property
    def _pinpoints(self) -> list[list[int]]:
        return [list(point) for point in self.config.image_grid_pinpoints]

    def pack(self, crops: Tensor, pixels: PixelInputs, image: int, newline: Tensor | None) -> Tensor:
        packed, _ = self.base.pack_image_features(
            [crops],
            [_height_width(pixels, image)],
            image_newline=newline,
            **self._pack_options(),
        )
        values: Tensor = packed[0]
        return values

    def _pack_options(self) -> dict[str, object]:
        return {"vision_feature_select_strategy": self.config.vision_feature_select_strategy}

    def grid(self, pixels: PixelInputs, image: int, size: int, image_size: tuple[int, int] | None) -> TokenGrid:
        height, width = _height_width(pixels, image)
        rows, cols = self.grid_side
        base = Crop("base", rows, cols, (0.0, 0.0, float(width), float(height)), 0)
        if size == base.size:
            return TokenGrid((width, height), (base,))
        side = self.vision_config.image_size
        down, across = get_anyres_image_grid_shape([height, width], self._pinpoints, side)
        shown = unpad_image(torch.empty(1, down * rows, across * cols), [height, width]).shape
        box = unpadded_box(
            (width, height), (across * side, down * side), (across * cols, down * rows), (shown[2], shown[1])
        )
        tile_rows = self._tile_rows(pixels, image)
        tiles = Crop("tiles", tile_rows, (size - base.size) // tile_rows, box, base.size)
        return TokenGrid((width, height), (base, tiles))

    def _tile_rows(self, pixels: PixelInputs, image: int) -> int:
        """Rows of the stitched grid as the LLM sees it; stock code ends each with one newline."""
        patches = self.grid_side[0] * self.grid_side[1]
        blank = torch.zeros(self.crop_counts(pixels)[image], patches, 1)
        return int(self.pack(blank, pixels, image, torch.ones(1)).sum().round())


def _height_width(pixels: PixelInputs, image: int) -> list[int]:
    height, width = pixels["image_sizes"][image]
    return [int(height), int(width)]
