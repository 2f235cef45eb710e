"""EADP with the LLM's embeddings: coverage weighted by the words with the most focused attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from adafv_core.checks import check_choice, check_temperature, check_weight
from adafv_core.greedy import cosine_matrix, coverage_order, min_max
from adafv_core.methods.base import NestedMethod, question_tokens
from adafv_core.scoring import TEXT_TOKENS
from adafv_core.types import TokenGrid, TokenScores


@dataclass(frozen=True, eq=False)
class EADPInLLMSpace(NestedMethod):
    """EADP (arXiv 2607.02484), on the LLM's embeddings: tokens that cover what the question's focused words attend to.

    Each word's attention over the visual tokens (softmax of temperature · cosine) has an entropy; the `share` of words
    with the lowest entropy (half by default) count, weighted by softmax(−entropy / 0.01). Relevance = alpha · mean
    cosine of all words + (1 − alpha) · weighted cosine, scaled to [0, 1] and smoothed by a 3×3 Gaussian (σ = 1) on
    each crop's grid. Then greedy facility location of ½ (cos + 1), rows weighted by relevance. text_tokens: "question"
    or "all".
    """

    name: ClassVar[str] = "eadp_llm"
    title: ClassVar[str] = "EADP (LLM space)"
    keeps: ClassVar[str] = "tokens that cover what the question's most focused words attend to"
    source: ClassVar[str] = "EADP, arXiv 2607.02484, on the LLM's embeddings"
    temperature: float = 100.0
    share: float = 0.5
    alpha: float = 0.5
    text_tokens: str = "question"

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        check_weight("share", self.share, 0.0, 1.0)
        check_weight("alpha", self.alpha, 0.0, 1.0)
        check_choice("text_tokens", self.text_tokens, TEXT_TOKENS)

    def order(self, scores: TokenScores, count: int) -> Tensor:
        words = functional.normalize(question_tokens(scores, self.text_tokens, self.name), dim=-1)
        cosine = words @ functional.normalize(scores.visual.required("features", self.name).float(), dim=-1).T
        attention = (self.temperature * cosine).log_softmax(dim=-1)
        entropy = -(attention.exp() * attention).sum(dim=-1)
        chosen = entropy.sort(stable=True).indices[: max(1, round(self.share * words.shape[0]))]
        weight = (-entropy[chosen] / 0.01).softmax(dim=0)
        relevance = self.alpha * cosine.mean(dim=0) + (1 - self.alpha) * (weight @ cosine[chosen])
        smooth = smoothed(min_max(relevance), scores.visual.grid)
        return coverage_order(
            (cosine_matrix(scores.visual.required("features", self.name)) + 1) / 2, count, row_weight=smooth
        )


def smoothed(values: Tensor, grid: TokenGrid) -> Tensor:
    """(N,) float values after a 3×3 Gaussian (σ = 1) on each crop's rows × cols, with reflected edges."""
    line = torch.exp(-torch.tensor([1.0, 0.0, 1.0], device=values.device) / 2)
    kernel = (line[:, None] * line[None]) / line.sum() ** 2
    smooth = []
    for crop in grid.crops:
        plane = values[crop.offset : crop.offset + crop.size].view(1, 1, crop.rows, crop.cols)
        for axis_pad, length in (((1, 1, 0, 0), crop.cols), ((0, 0, 1, 1), crop.rows)):
            plane = functional.pad(plane, axis_pad, mode="reflect" if length > 1 else "replicate")
        smooth.append(functional.conv2d(plane, kernel[None, None]).flatten())
    return torch.cat(smooth)
