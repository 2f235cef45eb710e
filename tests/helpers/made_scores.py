"""Scores of random visual tokens, small enough to check by hand, for the tests of the core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from adafv_core import METHODS, get_method
from adafv_core.methods.inside import InsideMethod
from adafv_core.scoring import most_attended, word_attention
from adafv_core.types import Crop, Selection, TokenGrid, TokenScores, VisualTokens

LLM_LAYERS = 8
SHIPPED = (
    "full",
    "random",
    "saliency",
    "t2i",
    "fixed_mix",
    "adafv",
    "adafv_d",
    "adav_authors",
    "visionzip",
    "vispruner",
    "divprune",
    "scope",
    "mmtok",
    "cdpruner",
    "eadp_llm",
    "pooling",
    "fastv",
    "sparsevlm",
    "pyramiddrop",
)
"""The methods that come with the library; someone's own ones follow them in METHODS."""


def made_scores(
    side: int = 4,
    crops: int = 1,
    words: int = 6,
    width: int = 8,
    seed: int = 0,
    uniform: bool = False,
    temperature: float = 10.0,
) -> TokenScores:
    """`crops` crops of side × side patches. uniform: every token has equal features and scores."""
    draw = torch.Generator().manual_seed(seed)
    size = crops * side * side

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw)

    def tokens(dim: int) -> Tensor:
        return normal(1, dim).expand(size, dim).clone() if uniform else normal(size, dim)

    raw = torch.zeros(crops, side * side) if uniform else normal(crops, side * side)
    cls_attention = raw.softmax(dim=1)
    pixels = side * 14
    box = (0, 0, pixels, pixels)
    parts = (Crop(f"crop {i}", side, side, box, i * side * side) for i in range(crops))
    grid = TokenGrid((pixels, pixels), tuple(parts))
    features = tokens(width)
    visual = VisualTokens(features, cls_attention.flatten(), grid, cls_attention, tokens(width), tokens(width))
    return scores_of(visual, normal(words, width), torch.arange(words) < words - 2, temperature)


def scores_of(visual: VisualTokens, text: Tensor, counted: Tensor, temperature: float) -> TokenScores:
    attention = word_attention(text, visual.features, temperature)
    words = tuple(f"word{i}" for i in range(len(text)))
    t2i = most_attended(attention, counted)
    return TokenScores(t2i, visual.saliency, words, attention, counted, text, visual, "?", temperature)


def attention_row(scores: TokenScores) -> Tensor:
    """(2, N): what stands in for the LLM's attention to the visual tokens in tests of methods inside it."""
    return torch.stack((scores.t2i, scores.saliency))


def select(name: str, scores: TokenScores, budget: int, **options: Any) -> Selection:
    """Select with any method; one that chooses inside the LLM gets an attention row."""
    method = get_method(name, **options)
    if isinstance(method, InsideMethod):
        return method.select_from_attention(attention_row(scores), budget, LLM_LAYERS, scores.visual.features)
    return method.select(scores, budget)


def exact_methods() -> Sequence[str]:
    """Names of the methods that keep exactly K distinct tokens."""
    return [name for name, method in METHODS.items() if method.exact]
