"""InternVL: tiles and a thumbnail, four patches shuffled into a token (`InternVLForConditionalGeneration`)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from transformers import InternVLProcessor
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import get_optimal_tiled_canvas

from adafv_core.errors import InputError
from adafv_core.models.base import Adapter, PixelInputs
from adafv_core.models.processors import stills
from adafv_core.models.tiles import tiled_grid
from adafv_core.models.vision_hooks import layer_number
from adafv_core.types import Crop, TokenGrid, VisualTokens


class InternVLAdapter(Adapter):
    """The picture is stretched over tiles of the best aspect ratio; the LLM sees tile after tile, then a thumbnail of
    the whole. Pixel shuffle joins 2 × 2 patches to a token. Saliency is the [CLS] row of the feature layer.
    """

    model_class = "InternVLForConditionalGeneration"
    model_type = "internvl"
    processor_class = stills(InternVLProcessor)
    PIXEL_NAMES = ("pixel_values",)
    ATTENTION = "attention"

    @cached_property
    def layers(self) -> Any:
        return self.tower.encoder.layer

    def feature_layer(self) -> Any:
        return self.layers[layer_number(self.layers, self.config.vision_feature_layer, type(self.tower).__name__)]

    def modules(self) -> dict[str, nn.Module]:
        # Queries and keys as attention uses them: after their norm, which is an identity where the config has none.
        return {"queries": self.attention.q_norm, "keys": self.attention.k_norm, "projector": self.projector}

    @cached_property
    def merge_side(self) -> int:
        return round(1 / float(self.config.downsample_ratio))

    def crop_counts(self, pixels: PixelInputs) -> list[int]:
        if pixels.get("num_patches") is None:
            raise InputError("Expected num_patches, the tiles of each image, beside pixel_values.")
        return [int(count) for count in pixels["num_patches"]]

    def from_prompts(self, pixels: PixelInputs, prompts: Sequence[Tensor]) -> PixelInputs:
        """The stock processor drops the number of tiles; in a prompt each image is one run of image tokens."""
        rows, cols = self.grid_side
        counts: list[int] = []
        for ids in prompts:
            is_image = (ids == self.image_token_id).long().cpu()
            edges = torch.diff(is_image, prepend=torch.zeros(1).long(), append=torch.zeros(1).long())
            starts, ends = (edges == 1).nonzero()[:, 0], (edges == -1).nonzero()[:, 0]
            counts += ((ends - starts) // (rows * cols)).tolist()
        return {**pixels, "num_patches": counts}

    def grid(self, pixels: PixelInputs, image: int, size: int, image_size: tuple[int, int] | None) -> TokenGrid:
        count = self.crop_counts(pixels)[image]
        height, width = (int(side) for side in pixels["pixel_values"].shape[-2:])
        across, down = self._tiles(image_size, (height, width)) if image_size is not None and count > 1 else (0, 0)
        if across * down == count - 1:
            return tiled_grid(image_size or (width, height), (down, across), self.grid_side)
        # Without the picture's size nobody knows how the tiles lie: each is a picture of its own.
        rows, cols = self.grid_side
        box = (0.0, 0.0, float(width), float(height))
        crops = [Crop(f"tile {at + 1}", rows, cols, box, at * rows * cols) for at in range(count - 1)]
        return TokenGrid((width, height), (*crops, Crop("base", rows, cols, box, (count - 1) * rows * cols)))

    def _tiles(self, image_size: tuple[int, int], tile: tuple[int, int]) -> tuple[int, int]:
        """Tiles across and down, by the stock choice."""
        if self.processor is None:
            return 0, 0
        images = self.processor.image_processor
        width, height = image_size
        across, down = get_optimal_tiled_canvas((height, width), tile, images.min_patches, images.max_patches)
        return across, down

    def image_ids(self, visual: VisualTokens) -> list[int]:
        start, end = self.processor.start_image_token_id, self.processor.end_image_token_id
        return [start, *super().image_ids(visual), end]

    def stock_features(self, output: Any, pixels: PixelInputs) -> list[Tensor]:
        return [crops.flatten(0, 1) for crops in torch.split(output.pooler_output, self.crop_counts(pixels))]

    def encoder_output(self, features: Sequence[Tensor], layer_features: Sequence[Tensor]) -> Any:
        # One tensor; its first axis is what stock beam search deals out to the prompts.
        return BaseModelOutputWithPooling(pooler_output=torch.cat(list(features))[:, None])
