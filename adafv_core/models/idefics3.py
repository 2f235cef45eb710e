"""Idefics3: tiles, each between marks that name its row and column, and the whole picture
(`Idefics3ForConditionalGeneration`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import Idefics3Processor

from adafv_core.errors import InputError
from adafv_core.models.base import Adapter, PixelInputs
from adafv_core.models.tiles import tiled_grid, tiles_of
from adafv_core.types import TokenGrid, VisualTokens

_GLOBAL, _TILE = "<global-img>", re.compile(r"<row_(\d+)_col_(\d+)>")


class Idefics3Adapter(Adapter):
    """The picture is stretched over rows and columns of tiles; the LLM sees tile after tile with their marks as text
    between them, then the whole. Pixel shuffle joins square blocks of patches to a token; SigLIP has no [CLS] token.
    """

    model_class = "Idefics3ForConditionalGeneration"
    model_type = "idefics3"
    processor_class: ClassVar[Any] = Idefics3Processor
    PIXEL_NAMES = ("pixel_values", "pixel_attention_mask")
    TOWER = "vision_model"
    PROJECTOR = "connector.modality_projection"
    LANGUAGE_MODEL = "text_model"

    def feature_layer(self) -> Any:
        return self.tower.encoder.layers[-1]

    @cached_property
    def merge_side(self) -> int:
        return int(self.config.scale_factor)

    def pixels(self, pictures: Sequence[Any], together: bool = False) -> PixelInputs:
        return super().pixels([[picture] for picture in pictures])

    def crop_counts(self, pixels: PixelInputs) -> list[int]:
        return [down * across + 1 for down, across in self._tiles(pixels)]

    def _tiles(self, pixels: PixelInputs) -> list[tuple[int, int]]:
        """Tiles (down, across) of each image, (0, 0) where it is not split."""
        if pixels.get("rows") is None:
            raise InputError("Expected rows and cols, the tiles of each image, beside pixel_values.")
        both = zip(pixels["rows"], pixels["cols"], strict=True)
        return [(int(down), int(across)) for rows, cols in both for down, across in zip(rows, cols, strict=True)]

    def from_prompts(self, pixels: PixelInputs, prompts: Sequence[Tensor]) -> PixelInputs:
        """The stock processor drops rows and columns; in a prompt the marks before the image tokens tell them."""
        rows: list[list[int]] = []
        cols: list[list[int]] = []
        for ids in prompts:
            listed = ids.tolist()
            found, tile = [], (0, 0)
            for mark, following in pairwise(listed):
                if following == self.image_token_id and mark in self._marks:
                    tile = self._marks[mark] or tile
                    if self._marks[mark] is None:
                        found.append(tile)
                        tile = (0, 0)
            rows.append([down for down, _ in found])
            cols.append([across for _, across in found])
        return {**pixels, "rows": rows, "cols": cols}

    @cached_property
    def _marks(self) -> dict[int, tuple[int, int] | None]:
        """Token ids that stand before a crop: (row, column) of a tile, from 1, or None for the whole picture."""
        if self.processor is None:
            raise InputError(f"{self.model_class} needs its processor, which knows the marks between tiles; pass it.")
        vocabulary: dict[str, int] = self.processor.tokenizer.get_vocab()
        marks: dict[int, tuple[int, int] | None] = {}
        for token, number in vocabulary.items():
            if token == _GLOBAL:
                marks[number] = None
            elif match := _TILE.fullmatch(token):
                marks[number] = (int(match[1]), int(match[2]))
        return marks

    def grid(self, pixels: PixelInputs, image: int, size: int, image_size: tuple[int, int] | None) -> TokenGrid:
        down, across = self._tiles(pixels)[image]
        height, width = (int(side) for side in pixels["pixel_values"].shape[-2:])
        return tiled_grid(image_size or (width * max(across, 1), height * max(down, 1)), (down, across), self.grid_side)

    def image_ids(self, visual: VisualTokens) -> list[int]:
        down, across = tiles_of(visual.grid)
        text = self.processor.replace_image_token({"rows": [[down]], "cols": [[across]]}, 0)
        return list(self.processor.tokenizer(text, add_special_tokens=False)["input_ids"])

    def stock_features(self, output: Any, pixels: PixelInputs) -> list[Tensor]:
        # Stock joins the images of a prompt; here each is on its own.
        rows, cols = self.grid_side
        sizes = [count * rows * cols for count in self.crop_counts(pixels)]
        features = torch.cat(list(output.pooler_output))
        if features.shape[0] != sum(sizes):
            raise InputError(
                f"The prompts have {sum(sizes)} image tokens, the pixel values give {features.shape[0]}; pass "
                "input_ids and pixel_values of one processor call."
            )
        return list(torch.split(features, sizes))

    def projector_flops(self, tokens: int) -> int:
        """One matrix: 2 · tokens · (hidden · scale_factor²) · D."""
        width = int(self.vision_config.hidden_size) * self.merge_side**2
        return 2 * tokens * width * int(self.text_config.hidden_size)
