"""SparseVLM: the words that look at the picture rate its tokens, layer after layer; dropped ones are recycled."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from adafv_core.errors import InputError
from adafv_core.methods.inside import Drop, InsideMethod, Stage, scaled
from adafv_core.mixing import top_k

_LAYERS, _DEPTH = (3, 7, 16), 32
"""The first layers after layers 2, 6 and 15 of the 32 of LLaVA-7B."""
_PUBLISHED = {
    0: (0, 0, 0),
    64: (66, 30, 17),
    96: (238, 48, 26),
    128: (303, 110, 36),
    192: (300, 200, 110),
    576: (576, 576, 576),
}
_SIZE = 576
_NEAREST = 5


@dataclass(frozen=True, eq=False)
class SparseVLM(InsideMethod):
    """SparseVLM (arXiv 2410.04417): the words that look at the picture most rate its tokens at three layers.

    Raters: of the text after the images, at the LLM's input, P = softmax over text of V·Tᵀ; a text token rates if its
    mean over visual tokens is above the mean of all. After layers 2, 6 and 15 of 32, scaled to the model's depth, the
    tokens with the highest attention from the raters (mean over heads and raters) stay. How many: the authors' lists
    for mean budgets of 192, 128, 96 and 64 of 576, interpolated at K / N (0 and N at the ends). recycling: of the n
    dropped the ⌊0.3 n⌋ + 1 best rated are clustered by density peaks into ⌊m / 10⌋ + 1 means that stay behind the
    kept. K is about the mean that layers put out, `report["mean_output"]`; they process more,
    `report["layer_averaged_budget"]`.
    """

    name: ClassVar[str] = "sparsevlm"
    title: ClassVar[str] = "SparseVLM"
    keeps: ClassVar[str] = (
        "what the words that look at the picture attend to, at three layers of the LLM, and means of the rest"
    )
    source: ClassVar[str] = "SparseVLM, arXiv 2410.04417"
    positions: ClassVar[str] = "contiguous"
    exact: ClassVar[bool] = False
    recycling: bool = True

    def layers_of(self, depth: int) -> tuple[int, ...]:
        return scaled(_LAYERS, _DEPTH, depth)

    def stages(self, size: int, budget: int, depth: int) -> tuple[Stage, ...]:
        stages, before, layers = [], size, self.layers_of(depth)
        for layer, share in zip(layers, _shares(budget / size)[-len(layers) :], strict=True):
            keep = min(before, max(1, round(share * size)))
            dropped = before - keep
            merged = 0
            if dropped and self.recycling:
                merged = min(dropped, _clusters(_recycled(dropped)))
            stages.append(Stage(layer, keep, merged))
            before = keep + merged
        return tuple(stages)

    def raters(self, text: Tensor, visual: Tensor) -> Tensor | None:
        mean = (visual.float() @ text.float().T).softmax(dim=1).mean(dim=0)
        found = mean > mean.mean()
        return torch.where(found.any(), found, torch.ones_like(found))

    def drop(self, stage: Stage, attention: Tensor, hidden: Tensor | None) -> Drop:
        made = super().drop(stage, attention, hidden)
        if not stage.merged:
            return made
        if hidden is None:
            raise InputError("sparsevlm merges dropped tokens: it needs their hidden states, or recycling=False.")
        left = made.ranking.clone()
        left[made.kept] = -torch.inf
        best = top_k(left, _recycled(left.shape[0] - stage.keep))
        groups = density_peaks(hidden[best], stage.merged)
        return Drop(made.kept, tuple(best[group] for group in groups), made.ranking)


def density_peaks(tokens: Tensor, clusters: int) -> list[Tensor]:
    """(M, D) tokens in `clusters` ≤ M groups of indices, by density peaks (DPC-KNN): each group's center first.

    Distance is L2 / √D; density exp(−mean d² of the 5 nearest, itself included); a token's distance to the nearest
    denser one, or for the densest its largest distance, times its density ranks it as a center; the others join the
    nearest center. Ties by lower index. O(M²) memory.
    """
    values = tokens.float()
    distance = torch.cdist(values, values) / values.shape[1] ** 0.5
    nearest = distance.topk(min(_NEAREST, values.shape[0]), largest=False).values
    density = (-nearest.square().mean(dim=1)).exp()
    denser = density[None] > density[:, None]
    peak = torch.where(denser, distance, torch.inf).amin(dim=1)
    peak = torch.where(denser.any(dim=1), peak, distance.amax(dim=1))
    centers = top_k(peak * density, clusters)
    joins = distance[:, centers].argmin(dim=1)
    joins[centers] = torch.arange(clusters, device=centers.device)
    members = torch.arange(values.shape[0], device=centers.device)
    is_center = torch.zeros_like(members, dtype=torch.bool).scatter_(0, centers, True)
    return [torch.cat([centers[k : k + 1], members[(joins == k) & ~is_center]]) for k in range(clusters)]


def _recycled(dropped: int) -> int:
    return min(dropped, 3 * dropped // 10 + 1)


def _clusters(recycled: int) -> int:
    return recycled // 10 + 1


def _shares(ratio: float) -> tuple[float, ...]:
    """What share of N stays after each stage at K / N = ratio: between the neighboring published lists."""
    (low, few), (high, many) = next(pair for pair in pairwise(_PUBLISHED.items()) if ratio * _SIZE <= pair[1][0])
    part = (ratio * _SIZE - low) / (high - low)
    return tuple((one + part * (other - one)) / _SIZE for one, other in zip(few, many, strict=True))
