"""Visual saliency alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from adafv_core.methods.base import Choice, Method, best_choice, keep, kept_because
from adafv_core.mixing import top_k
from adafv_core.types import TokenScores, VisualTokens, Why


@dataclass(frozen=True, eq=False)
class Saliency(Method):
    """The K tokens of highest visual saliency c over all crops: the [CLS] attention of FasterVLM (arXiv 2412.01818).

    per_crop: divide the budget over the encoder's crops instead, K / crops each, as FasterVLM's own code does; the
    remainder, and what does not fit into a crop that lost tokens to un-padding, goes to the best of the rest.
    """

    name: ClassVar[str] = "saliency"
    title: ClassVar[str] = "Saliency"
    keeps: ClassVar[str] = "the K tokens that [CLS] attends to most"
    source: ClassVar[str] = "FasterVLM, arXiv 2412.01818"
    reads_t2i: ClassVar[bool] = False
    per_crop: bool = False

    def choose(self, scores: TokenScores, budget: int) -> Choice:
        ranking = scores.saliency
        if self.per_crop:
            kept = _share_by_crop(ranking, _crop_of_token(scores.visual), budget)
            return Choice(kept, kept.float(), kept_because(kept, Why.VISION))
        best = best_choice(ranking, budget)
        return replace(best, why=kept_because(best.kept, Why.VISION), k_visual=budget)


def _crop_of_token(visual: VisualTokens) -> Tensor:
    if visual.encoder_crop is not None:
        return visual.encoder_crop
    if len(visual.grid.crops) > 1 and visual.cls_attention is None:  # a tile grid may be one crop of many encoder crops
        visual.required("cls_attention", "per_crop")
    sizes = torch.tensor([crop.size for crop in visual.grid.crops], device=visual.saliency.device)
    return torch.arange(len(sizes), device=sizes.device).repeat_interleave(sizes)


def _share_by_crop(ranking: Tensor, crop: Tensor, budget: int) -> Tensor:
    """(N,) bool: tokens whose rank within their crop is below budget // crops, then the best of the rest."""
    order = top_k(ranking, ranking.shape[0])
    crop_in_order = crop[order]
    same = crop_in_order.unsqueeze(0) == torch.arange(int(crop.max()) + 1, device=crop.device).unsqueeze(1)
    place_in_crop = same.cumsum(dim=1).gather(0, crop_in_order.unsqueeze(0))[0] - 1
    n_crops = int(same.any(dim=1).sum())
    late = (place_in_crop >= budget // n_crops).long()
    return keep(order[late.argsort(stable=True)[:budget]], ranking.shape[0])
