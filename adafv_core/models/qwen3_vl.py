"""Qwen3-VL: as Qwen2-VL, with features of three encoder blocks added in the first LLM layers
(`Qwen3VLForConditionalGeneration`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen3VLProcessor
from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

from adafv_core.models.processors import stills
from adafv_core.models.qwen2_vl import Qwen2VLAdapter


class Qwen3VLAdapter(Qwen2VLAdapter):
    """DeepStack features are cut by the same mask as the features that enter the LLM."""

    model_class = "Qwen3VLForConditionalGeneration"
    model_type = "qwen3_vl"
    processor_class = stills(Qwen3VLProcessor)

    def layer_features(self, output: Any, image: int) -> Tensor | None:
        return torch.stack([layer[image] for layer in output.deepstack_features])

    def encoder_output(self, features: Sequence[Tensor], layer_features: Sequence[Tensor]) -> Any:
        return BaseModelOutputWithDeepstackFeatures(
            pooler_output=list(features),
            deepstack_features=[list(layer) for layer in zip(*layer_features, strict=True)],
        )

    def projector_flops(self, tokens: int) -> int:
        """One merger for the features, one for each block whose features DeepStack adds."""
        return super().projector_flops(tokens) * (1 + len(self.vision_config.deepstack_visual_indexes))
