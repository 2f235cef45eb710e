"""VisPruner: half by attention, half by diversity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from adafv_core.methods.base import Choice, Method, keep, kept_because
from adafv_core.mixing import top_k
from adafv_core.types import TokenScores, Why

DROPPED_A_ROUND = 8


@dataclass(frozen=True, eq=False)
class VisPruner(Method):
    """VisPruner (arXiv 2412.01818, later version): half by [CLS] attention, the rest by removing near-duplicates.

    ⌊K/2⌋ tokens by [CLS] attention. The others, ordered by it, are thinned in rounds until K − ⌊K/2⌋ are left: each
    round drops up to 8 tokens at even positions, those with the highest best cosine to any token at an odd position
    (ties: the earlier). Cosines are between vision features before the projector. Raises InputError if the model's
    adapter provides none.
    """

    name: ClassVar[str] = "vispruner"
    title: ClassVar[str] = "VisPruner"
    keeps: ClassVar[str] = "half the most attended, half without near-duplicates"
    source: ClassVar[str] = "VisPruner, arXiv 2412.01818"
    reads_t2i: ClassVar[bool] = False

    def choose(self, scores: TokenScores, budget: int) -> Choice:
        features = scores.visual.required("vision_features", "vispruner")
        order = top_k(scores.saliency, scores.size)
        important = keep(order[: budget // 2], scores.size)
        diverse = _thin(order[budget // 2 :], features, budget - budget // 2)
        kept = important | keep(diverse, scores.size)
        why = kept_because(kept, Why.METHOD).masked_fill(important, int(Why.VISION))
        return Choice(kept, why=why, k_visual=budget // 2, ranking=scores.saliency, head=important)


def _thin(rest: Tensor, features: Tensor, wanted: int) -> Tensor:
    """`wanted` of the indices in `rest`, in the same order."""
    unit = functional.normalize(features[rest].float(), dim=-1)
    cosine = unit @ unit.T
    left = torch.arange(rest.shape[0], device=rest.device)
    while left.shape[0] > wanted:
        even, odd = left[::2], left[1::2]
        n_drop = min(DROPPED_A_ROUND, left.shape[0] - wanted, even.shape[0])
        best = cosine[even.unsqueeze(1), odd].amax(dim=1)
        dropped = keep(2 * top_k(best, n_drop), left.shape[0])
        left = left[dropped.to(torch.int8).argsort(stable=True)[: left.shape[0] - n_drop]]
    return rest[left]
