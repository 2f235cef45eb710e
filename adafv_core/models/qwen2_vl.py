"""Qwen2-VL: any picture size, four patches merged to a token, M-RoPE (`Qwen2VLForConditionalGeneration`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Qwen2VLProcessor
from transformers.models.qwen2_vl.modeling_qwen2_vl import apply_rotary_pos_emb_vision

from adafv_core import cost
from adafv_core.models.base import Adapter, PixelInputs
from adafv_core.models.processors import stills
from adafv_core.models.vision_hooks import Call
from adafv_core.scoring import saliency_of
from adafv_core.types import Crop, TokenGrid, VisualTokens


class Qwen2VLAdapter(Adapter):
    """A picture is one grid of merge units, each 2 × 2 patches that lie together in the processor's order and become
    one token. Saliency is the attention received in the last block; kept tokens keep their (time, height, width)
    positions.
    """

    model_class = "Qwen2VLForConditionalGeneration"
    model_type = "qwen2_vl"
    processor_class = stills(Qwen2VLProcessor)
    PIXEL_NAMES = ("pixel_values", "image_grid_thw")
    PROMPT_NAMES = ("mm_token_type_ids",)
    POSITIONS = ("original",)
    TOWER = "visual"
    PROJECTOR = "visual.merger"
    ATTENTION = "attn"

    def feature_layer(self) -> Any:
        return self.tower.blocks[-1]

    @cached_property
    def merge_side(self) -> int:
        return int(self.vision_config.spatial_merge_size)

    def crop_counts(self, pixels: PixelInputs) -> list[int]:
        return [1] * len(pixels["image_grid_thw"])

    def grid(self, pixels: PixelInputs, image: int, size: int, image_size: tuple[int, int] | None) -> TokenGrid:
        _, down, across = (int(count) for count in pixels["image_grid_thw"][image])
        patch = self.vision_config.patch_size
        width, height = image_size or (across * patch, down * patch)
        rows, cols = down // self.merge_side, across // self.merge_side
        return TokenGrid((width, height), (Crop("base", rows, cols, (0.0, 0.0, float(width), float(height)), 0),))

    def modules(self) -> dict[str, nn.Module]:
        return {"attention": self.attention, "qkv": self.attention.qkv, "projector": self.projector}

    def planes(self, calls: Mapping[str, Call], pixels: PixelInputs) -> list[dict[str, Tensor]]:
        """Queries and keys come fused, before the rotary embedding that the attention applies to them."""
        heads = self.vision_config.num_heads
        fused = calls["qkv"].output.detach()
        queries, keys, _ = fused.reshape(fused.shape[0], 3, heads, -1).permute(1, 0, 2, 3)
        queries, keys = apply_rotary_pos_emb_vision(queries, keys, *calls["attention"].kwargs["position_embeddings"])
        grids = pixels["image_grid_thw"]
        patches = grids.prod(-1).tolist()
        # Attention never crosses from one image to another.
        received = [
            saliency_of(query.transpose(0, 1)[None], key.transpose(0, 1)[None], has_cls=False)[0]
            for query, key in zip(torch.split(queries, patches), torch.split(keys, patches), strict=True)
        ]
        order, unit = self.unit_order(grids), self.merge_side**2
        units = {
            "saliency": torch.cat(received).reshape(-1, unit).mean(1),
            "vision": calls["projector"].args[0].detach().reshape(order.numel(), -1),
            "keys": keys.mean(1).reshape(order.numel(), unit, -1).mean(1),
        }
        tokens = [count // unit for count in patches]
        split = {name: torch.split(plane[order.to(plane.device)], tokens) for name, plane in units.items()}
        return [{name: parts[image][None] for name, parts in split.items()} for image in range(len(tokens))]

    def unit_order(self, grids: Tensor) -> Tensor:
        """(units,) int64: which of the encoder's merge units is each LLM token, over all images of a call."""
        return torch.arange(int(grids.prod(-1).sum()) // self.merge_side**2)

    def position_ids(self, ids: Tensor, visuals: Sequence[VisualTokens]) -> Tensor | None:
        side = self.merge_side
        crops = [visual.grid.crops[0] for visual in visuals]
        found, _ = self.base.get_rope_index(
            ids.cpu()[None],
            mm_token_type_ids=(ids.cpu() == self.image_token_id).int()[None],
            image_grid_thw=torch.tensor([[1, crop.rows * side, crop.cols * side] for crop in crops]),
        )
        axes: Tensor = found[:, 0]
        return axes

    def vision_flops(self, visual: VisualTokens) -> int:
        crop = visual.grid.crops[0]
        return cost.vision_flops(self.vision_shape(crop.rows, crop.cols)) + self.projector_flops(crop.size)

    def vision_shape(self, rows: int, cols: int) -> cost.VisionShape:
        """The encoder's integers for a picture of rows × cols tokens."""
        config = self.vision_config
        patches = rows * cols * self.merge_side**2
        return cost.VisionShape(
            layers=config.depth,
            hidden=self.vision_width,
            intermediate=getattr(config, "intermediate_size", None) or self.vision_width * config.mlp_ratio,
            patches=patches,
            tokens=patches,
            patch_size=config.patch_size,
            channels=config.in_channels * config.temporal_patch_size,
        )

    @cached_property
    def vision_width(self) -> int:
        """Hidden size of the encoder; Qwen2-VL's config calls it embed_dim, and its output size hidden_size."""
        return int(getattr(self.vision_config, "embed_dim", None) or self.vision_config.hidden_size)

    def projector_flops(self, tokens: int) -> int:
        """A merger: (4 · hidden)² and 4 · hidden · D."""
        width = self.vision_width * self.merge_side**2
        return 2 * tokens * width * (width + int(self.text_config.hidden_size))
