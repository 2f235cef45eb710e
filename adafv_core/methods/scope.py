"""SCOPE: saliency times coverage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from adafv_core.checks import check_weight
from adafv_core.greedy import cosine_matrix, coverage_order, evenly_over
from adafv_core.methods.base import NestedMethod
from adafv_core.types import TokenScores


@dataclass(frozen=True, eq=False)
class Scope(NestedMethod):
    """SCOPE (arXiv 2510.24214): greedily picks the token whose saliency times newly covered similarity is largest.

    gain_j = c_j^alpha · Σ_i max(0, cos(u_i, u_j) − covered_i) over encoder features u before the projector and saliency
    c; does not use the question. alpha: 0 means coverage alone. per_crop: divide the budget evenly over the crops and
    pick in each separately (as the authors do for any-resolution models); then picks are nested only within a crop.
    """

    name: ClassVar[str] = "scope"
    title: ClassVar[str] = "SCOPE"
    keeps: ClassVar[str] = "the most salient tokens that also cover the image"
    source: ClassVar[str] = "SCOPE, arXiv 2510.24214"
    reads_t2i: ClassVar[bool] = False
    alpha: float = 1.0
    per_crop: bool = False

    def __post_init__(self) -> None:
        check_weight("alpha", self.alpha, 0.0, 100.0)

    def order(self, scores: TokenScores, count: int) -> Tensor:
        features = scores.visual.required("vision_features", self.name)
        weight = scores.saliency.clamp(min=0).double() ** self.alpha
        crops = scores.visual.grid.crops
        if not self.per_crop or len(crops) == 1:
            return coverage_order(cosine_matrix(features), count, column_weight=weight)
        picked = []
        for crop, share in zip(crops, evenly_over([crop.size for crop in crops], count), strict=True):
            part = slice(crop.offset, crop.offset + crop.size)
            if share:
                inside = coverage_order(cosine_matrix(features[part]), share, column_weight=weight[part])
                picked.append(crop.offset + inside)
        return torch.cat(picked)
