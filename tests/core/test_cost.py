"""The cost formulas against published figures, and against a count of what stock models really multiply."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM, LlavaConfig, Qwen3VLMoeConfig

from adafv_core.cost import (
    LLMShape,
    VisionShape,
    fastv_tokens,
    kv_cache_bytes,
    layer_averaged_budget,
    prefill_flops,
    projector_flops,
    vision_flops,
)
from adafv_core.errors import InputError

VICUNA_7B = LLMShape(layers=32, hidden=4096, intermediate=11008, heads=32, kv_heads=32, head_dim=128, vocab=32000)


@pytest.mark.parametrize(("n_visual", "tera"), [(576, 7.6), (2880, 41.7)])
def test_prefill_of_a_7b_llama(n_visual: int, tera: float) -> None:
    assert round(prefill_flops(VICUNA_7B, n_visual) / 1e12, 1) == tera


@pytest.mark.parametrize(("n_visual", "tera"), [(576, 3.8), (2880, 20.8)])
def test_half_of_it_is_what_others_print_as_multiply_accumulates(n_visual: int, tera: float) -> None:
    assert round(prefill_flops(VICUNA_7B, n_visual) / 2e12, 1) == tera


def test_kv_cache_of_a_7b_llama() -> None:
    assert kv_cache_bytes(VICUNA_7B, 1) == 2**19
    assert kv_cache_bytes(VICUNA_7B, 2880) == 1440 * 2**20
    assert kv_cache_bytes(VICUNA_7B, 1, bytes_per_value=4) == 2**20


def test_grouped_keys_and_values_shrink_the_cache() -> None:
    mistral = LLMShape(layers=32, hidden=4096, intermediate=14336, heads=32, kv_heads=8, head_dim=128, vocab=32000)
    assert kv_cache_bytes(mistral, 1) == kv_cache_bytes(VICUNA_7B, 1) // 4


@pytest.mark.parametrize("kv_heads", [4, 2])
def test_prefill_equals_what_a_stock_llama_multiplies(kv_heads: int) -> None:
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=80,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=kv_heads,
        head_dim=16,
        vocab_size=50,
    )
    config._attn_implementation = "eager"
    model, tokens = LlamaForCausalLM(config).eval(), 11
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.arange(tokens)[None], logits_to_keep=1)
    assert counter.get_total_flops() == prefill_flops(LLMShape.from_config(config), tokens)


def test_vision_equals_what_a_stock_clip_multiplies() -> None:
    config = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=24,
        patch_size=6,
    )
    config._attn_implementation = "eager"
    model = CLIPVisionModel(config).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(2, 3, 24, 24))
    shape = VisionShape.from_config(config, layers=3, has_cls=True)
    assert shape.tokens == 17
    assert counter.get_total_flops() == vision_flops(shape, crops=2)


def test_projector_is_two_matrices() -> None:
    layers = torch.nn.Sequential(torch.nn.Linear(8, 12), torch.nn.GELU(), torch.nn.Linear(12, 12))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        layers(torch.zeros(5, 8))
    assert counter.get_total_flops() == projector_flops(5, 8, 12)


def test_shapes_are_read_from_a_whole_llava_config() -> None:
    config = LlavaConfig()
    assert LLMShape.from_config(config) == LLMShape.from_config(config.text_config)
    vision = VisionShape.from_config(config, layers=23, has_cls=True)
    assert (vision.patches, vision.tokens, vision.layers) == (576, 577, 23)


def test_fastv_is_averaged_over_layers() -> None:
    assert fastv_tokens(4, 2, 100, 10) == (100, 100, 10, 10)
    assert layer_averaged_budget(32, 2, 576, 64) == (2 * 576 + 30 * 64) / 32 == 96.0
    per_layer = fastv_tokens(32, 2, 576, 64)
    assert prefill_flops(VICUNA_7B, 64) < prefill_flops(VICUNA_7B, per_layer) < prefill_flops(VICUNA_7B, 576)
    assert kv_cache_bytes(VICUNA_7B, per_layer) == 32 * 96 * 2**14
    assert prefill_flops(VICUNA_7B, [576] * 32) == prefill_flops(VICUNA_7B, 576)


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(InputError, match="one for each of the 32 layers; got 2"):
        prefill_flops(VICUNA_7B, [1, 2])
    with pytest.raises(InputError, match="cannot be negative; got -1"):
        kv_cache_bytes(VICUNA_7B, -1)
    with pytest.raises(InputError, match="between 0 and the 4 layers"):
        fastv_tokens(4, 5, 10, 1)


def test_windows_gated_mlps_and_experts_are_counted() -> None:
    """One full and one windowed layer of four patches in windows of one and three, by hand."""
    vision = VisionShape(2, 8, 5, 4, 4, patch_size=2, channels=6, mlp_matrices=3, windowed_layers=1, window_pairs=10)
    weights = 2 * 4 * (4 * 64 + 3 * 8 * 5)
    assert vision_flops(vision) == 2 * weights + 4 * (16 + 10) * 8 + 2 * 4 * 6 * 4 * 8
    experts = Qwen3VLMoeConfig(text_config={"num_experts_per_tok": 3, "moe_intermediate_size": 11, "head_dim": 16})
    assert LLMShape.from_config(experts).intermediate == 33 and LLMShape.from_config(experts).head_dim == 16
