"""What a forward pass costs, from plain integers.

Convention: a multiply-add counts as two FLOPs. Counted are the matrix products: attention projections
(with grouped key/value heads), both attention products over the whole square (no saving for the causal
half), the MLP (three matrices in the SwiGLU of the LLM, two in the vision encoder and the projector), the
LM head for one position, and the patch embedding. Not counted: norms, activations, softmax, embeddings,
biases, and the single [CLS] row of saliency. Other papers report multiply-accumulates (half of these
numbers) or assume two-matrix MLPs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adafv_core.errors import InputError


@dataclass(frozen=True)
class LLMShape:
    """The integers of a decoder-only LLM with a SwiGLU MLP. kv_heads < heads is grouped-query attention."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int

    @classmethod
    def from_config(cls, config: Any) -> LLMShape:
        """From a Llama-like transformers config, or one that holds it as `text_config`.

        In a mixture of experts, only the experts that one token passes through count.
        """
        config = getattr(config, "text_config", config)
        heads = config.num_attention_heads
        experts = getattr(config, "num_experts_per_tok", None)
        return cls(
            layers=config.num_hidden_layers,
            hidden=config.hidden_size,
            intermediate=experts * config.moe_intermediate_size if experts else config.intermediate_size,
            heads=heads,
            kv_heads=getattr(config, "num_key_value_heads", None) or heads,
            head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
            vocab=config.vocab_size,
        )


@dataclass(frozen=True)
class VisionShape:
    """The integers of a vision transformer.

    layers: number of layers that run. tokens: patches, plus [CLS] if any. channels: of a patch, times its frames.
    mlp_matrices: 3 for a gated MLP. windowed_layers: number of layers that attend only within windows; window_pairs:
    Σ (patches in a window)².
    """

    layers: int
    hidden: int
    intermediate: int
    patches: int
    tokens: int
    patch_size: int
    channels: int = 3
    mlp_matrices: int = 2
    windowed_layers: int = 0
    window_pairs: int = 0

    @classmethod
    def from_config(cls, config: Any, layers: int, has_cls: bool) -> VisionShape:
        """From a CLIP-like or SigLIP-like transformers config, or one that holds it as `vision_config`."""
        config = getattr(config, "vision_config", config)
        (height, width), (down, across) = map(pair, (config.image_size, config.patch_size))
        patches = (height // down) * (width // across)
        return cls(
            layers=layers,
            hidden=config.hidden_size,
            intermediate=config.intermediate_size,
            patches=patches,
            tokens=patches + int(has_cls),
            patch_size=down,
            channels=config.num_channels,
        )


def pair(size: int | Sequence[int]) -> tuple[int, int]:
    """(height, width) from a config value that is one number or two."""
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def prefill_flops(llm: LLMShape, tokens: int | Sequence[int]) -> int:
    """FLOPs of one prefill, including the LM head for one position.

    tokens: n, the length of the sequence (visual, newline and text tokens), or one length per layer if they differ
    (FastV). A layer costs 2n·(2·hidden·q + 2·hidden·kv + 3·hidden·intermediate) + 4n²·q, with q = heads · head_dim and
    kv = kv_heads · head_dim; the LM head costs 2 · hidden · vocab.
    """
    q, kv = llm.heads * llm.head_dim, llm.kv_heads * llm.head_dim
    weights = 2 * llm.hidden * q + 2 * llm.hidden * kv + 3 * llm.hidden * llm.intermediate
    in_layers = sum(2 * n * weights + 4 * n * n * q for n in _by_layer(llm, tokens))
    return in_layers + 2 * llm.hidden * llm.vocab


def vision_flops(vision: VisionShape, crops: int = 1) -> int:
    """FLOPs of the vision encoder for all crops, without the projector.

    A layer costs 2n·(4·hidden² + mlp_matrices·hidden·intermediate) + 4n²·hidden for n = vision.tokens, with
    window_pairs in place of n² if it attends within windows; the patch embedding costs
    2 · patches · channels · patch_size² · hidden.
    """
    n, hidden = vision.tokens, vision.hidden
    weights = 2 * n * (4 * hidden * hidden + vision.mlp_matrices * hidden * vision.intermediate)
    pairs = (vision.layers - vision.windowed_layers) * n * n + vision.windowed_layers * vision.window_pairs
    embedding = 2 * vision.patches * vision.channels * vision.patch_size**2 * hidden
    return crops * (vision.layers * weights + 4 * pairs * hidden + embedding)


def projector_flops(tokens: int, vision_hidden: int, llm_hidden: int) -> int:
    """FLOPs of the two-layer projector: 2 · tokens · (vision_hidden · llm_hidden + llm_hidden²)."""
    return 2 * tokens * (vision_hidden * llm_hidden + llm_hidden * llm_hidden)


def kv_cache_bytes(llm: LLMShape, tokens: int | Sequence[int], bytes_per_value: int = 2) -> int:
    """Bytes of keys and values after a prefill: 2 · kv_heads · head_dim · bytes_per_value per token and layer.

    tokens: as in `prefill_flops`. bytes_per_value: 2 for float16 and bfloat16, 4 for float32.
    """
    return 2 * llm.kv_heads * llm.head_dim * bytes_per_value * sum(_by_layer(llm, tokens))


def fastv_tokens(layers: int, layer: int, full: int, pruned: int) -> tuple[int, ...]:
    """Sequence length in each of `layers` layers if tokens are dropped at the input of layer number `layer`."""
    if not 0 <= layer <= layers:
        raise InputError(f"The layer must be between 0 and the {layers} layers of the LLM; got {layer}.")
    return (full,) * layer + (pruned,) * (layers - layer)


def layer_averaged_budget(layers: int, layer: int, n_visual: int, budget: int) -> float:
    """Mean number of visual tokens per layer in FastV: (layer · N + (layers − layer) · K) / layers."""
    return sum(fastv_tokens(layers, layer, n_visual, budget)) / layers


def _by_layer(llm: LLMShape, tokens: int | Sequence[int]) -> Sequence[int]:
    lengths = [tokens] * llm.layers if isinstance(tokens, int) else tokens
    if len(lengths) != llm.layers:
        raise InputError(f"Give one length, or one for each of the {llm.layers} layers; got {len(lengths)}.")
    if any(length < 0 for length in lengths):
        raise InputError(f"A sequence length cannot be negative; got {min(lengths)}.")
    return lengths
