"""Models with random weights in the shape of published checkpoints, whole or scaled down, with one image's pixels.

Time depends on shapes, not on what the weights are; the number of visual tokens is never scaled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)

from adafv_core.loading.load import load_model
from adafv_core.models import Adapter, adapter_for
from adafv_core.models.base import PixelInputs

_BEFORE, _AFTER = 35, 40
"""Text tokens before and after the image: LLaVA's system prompt, and a question of usual length."""
_LLAVA_IMAGE, _QWEN_START, _QWEN_IMAGE = 32000, 151652, 151655


@dataclass(frozen=True)
class Subject:
    """What is measured: a model, one image as its processor would hand it over, and a prompt about it.

    before, after: token ids around the image tokens, (T,) int64 each, on the CPU.
    """

    name: str
    scale: float
    adapter: Adapter
    pixels: PixelInputs
    before: Tensor
    after: Tensor

    @property
    def weight_bytes(self) -> int:
        """Bytes of LLM weights that every decoding step reads: the layers and the LM head."""
        head = self.adapter.model.get_output_embeddings().weight
        layers = sum(one.nbytes for one in self.adapter.language_model.layers.parameters())
        return int(layers + head.nbytes)


def _scaled(scale: float, heads: int) -> int:
    return max(2, round(heads * scale))


def _clip(scale: float) -> CLIPVisionConfig:
    """ViT-L/14-336; its width is scaled and its depth is not, so that one layer stays the same share of all."""
    heads = _scaled(scale, 16)
    return CLIPVisionConfig(
        hidden_size=64 * heads,
        intermediate_size=256 * heads,
        num_hidden_layers=24,
        num_attention_heads=heads,
        image_size=336,
        patch_size=14,
    )


def _vicuna(scale: float) -> LlamaConfig:
    heads = _scaled(scale, 32)
    return LlamaConfig(
        hidden_size=128 * heads,
        intermediate_size=344 * heads,
        num_hidden_layers=max(4, round(32 * scale)),
        num_attention_heads=heads,
        vocab_size=32064,
        max_position_embeddings=4096,
    )


def _of_llava(config_class: type[LlavaConfig | LlavaNextConfig], scale: float) -> Any:
    return config_class(
        vision_config=_clip(scale),
        text_config=_vicuna(scale),
        image_token_id=_LLAVA_IMAGE,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )


def _llava(scale: float) -> tuple[Any, PixelInputs]:
    model = LlavaForConditionalGeneration(_of_llava(LlavaConfig, scale))
    return model, {"pixel_values": torch.randn(1, 3, 336, 336)}


def _llava_next(scale: float) -> tuple[Any, PixelInputs]:
    pixels = {"pixel_values": torch.randn(1, 5, 3, 336, 336), "image_sizes": torch.tensor([[672, 672]])}
    return LlavaNextForConditionalGeneration(_of_llava(LlavaNextConfig, scale)), pixels


def _qwen(scale: float) -> tuple[Any, PixelInputs]:
    vision_heads, groups = _scaled(scale, 16), max(1, round(4 * scale))
    heads, side = 7 * groups, 48  # a picture of 672 × 672 pixels in patches of 14, which gives 576 tokens
    text = {
        "hidden_size": 128 * heads,
        "intermediate_size": 18944 * groups // 4,
        "num_hidden_layers": max(4, round(28 * scale)),
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "vocab_size": 152064,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
    }
    vision = {
        "depth": 32,
        "hidden_size": 80 * vision_heads,
        "intermediate_size": 3420 * vision_heads // 16,
        "num_heads": vision_heads,
        "out_hidden_size": 128 * heads,
        "fullatt_block_indexes": [7, 15, 23, 31],
    }
    config = Qwen2_5_VLConfig(
        vision_config=vision, text_config=text, image_token_id=_QWEN_IMAGE, vision_start_token_id=_QWEN_START
    )
    values = torch.randn(side * side, 3 * 2 * 14 * 14)
    pixels = {"pixel_values": values, "image_grid_thw": torch.tensor([[1, side, side]])}
    return Qwen2_5_VLForConditionalGeneration(config), pixels


_RANDOM: dict[str, Callable[[float], tuple[Any, PixelInputs]]] = {
    "llava-1.5-7b": _llava,
    "llava-next-7b": _llava_next,
    "qwen2.5-vl-7b": _qwen,
}
SHAPES = ("pocket", *_RANDOM)


def make_subject(name: str, scale: float, device: torch.device, dtype: torch.dtype, seed: int = 0) -> Subject:
    """The model of one shape on a device, in evaluation mode. scale: of LLM width and depth and encoder width, above 0
    and at most 1; the pocket model is what it is. Random numbers, on the device itself, are those of `seed`.
    """
    torch.manual_seed(seed)
    if name == "pocket":
        adapter = load_model("pocket", device, dtype).adapter
        side = adapter.vision_config.image_size
        pixels: PixelInputs = {"pixel_values": torch.randn(1, 3, side, side, device=device, dtype=dtype)}
    else:
        default = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            with device:
                model, pixels = _RANDOM[name](scale)
        finally:
            torch.set_default_dtype(default)
        adapter = adapter_for(model.eval())
    vocabulary = min(1000, int(adapter.text_config.vocab_size)) - 10
    before, after = (torch.randint(10, vocabulary, (length,)) for length in (_BEFORE, _AFTER))
    if name == "qwen2.5-vl-7b":
        before[-1] = _QWEN_START
    for ids in (before, after):
        ids[ids == adapter.image_token_id] = 10
    return Subject(name, 1.0 if name == "pocket" else scale, adapter, pixels, before, after)
