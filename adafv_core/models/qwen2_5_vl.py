"""Qwen2.5-VL: as Qwen2-VL, with windowed attention in most blocks (`Qwen2_5_VLForConditionalGeneration`)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen2_5_VLProcessor
from transformers.vision_utils import get_vision_window_index

from adafv_core import cost
from adafv_core.errors import UnsupportedModelError
from adafv_core.models.processors import stills
from adafv_core.models.qwen2_vl import Qwen2VLAdapter


class Qwen25VLAdapter(Qwen2VLAdapter):
    """Saliency comes from the last block with full attention, as the others see only their window. Inside the encoder
    merge units travel window by window; their stock order is undone.
    """

    model_class = "Qwen2_5_VLForConditionalGeneration"
    model_type = "qwen2_5_vl"
    processor_class = stills(Qwen2_5_VLProcessor)

    def feature_layer(self) -> Any:
        full = [index for index in self.vision_config.fullatt_block_indexes if index < len(self.tower.blocks)]
        if not full:
            raise UnsupportedModelError("This vision tower has no block with full attention; expected at least one.")
        return self.tower.blocks[max(full)]

    def unit_order(self, grids: Tensor) -> Tensor:
        return torch.argsort(self._windows(grids)[0])

    def vision_shape(self, rows: int, cols: int) -> cost.VisionShape:
        whole = super().vision_shape(rows, cols)
        grid = torch.tensor([[1, rows * self.merge_side, cols * self.merge_side]])
        return replace(
            whole,
            mlp_matrices=3,
            windowed_layers=whole.layers - len(self.vision_config.fullatt_block_indexes),
            window_pairs=int(self._windows(grid)[1].diff().pow(2).sum()),
        )

    def _windows(self, grids: Tensor) -> tuple[Tensor, Tensor]:
        """The encoder's order of merge units, and where its windows end, in patches."""
        config = self.vision_config
        order, ends = get_vision_window_index(
            grids.cpu(), config.spatial_merge_size, window_size=config.window_size, patch_size=config.patch_size
        )
        return order, ends
