"""DivPrune: the most diverse tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from adafv_core.methods.base import Choice, Method, keep
from adafv_core.types import TokenScores


@dataclass(frozen=True, eq=False)
class DivPrune(Method):
    """DivPrune (arXiv 2503.02175): greedy max–min diversity of projected tokens; uses neither score.

    Distance is 1 − cosine. The first pick is the token whose nearest neighbor is farthest; each further pick is the
    token farthest from its nearest picked one (ties: lower index). O(N²) memory for the distances; the K picks are
    inherently sequential but never leave the device.
    """

    name: ClassVar[str] = "divprune"
    title: ClassVar[str] = "DivPrune"
    keeps: ClassVar[str] = "the most diverse set (greedy max–min distance)"
    source: ClassVar[str] = "DivPrune, arXiv 2503.02175"
    reads_t2i: ClassVar[bool] = False

    def choose(self, scores: TokenScores, budget: int) -> Choice:
        features = scores.visual.required("features", "divprune")
        return Choice(keep(_farthest_first(features, budget), scores.size))


def _farthest_first(features: Tensor, budget: int) -> Tensor:
    unit = functional.normalize(features.float(), dim=-1)
    distance = 1.0 - unit @ unit.T
    chosen = torch.zeros(budget, dtype=torch.int64, device=features.device)
    nearest = distance.clone().fill_diagonal_(torch.inf).amin(dim=1)
    chosen[0] = nearest.argmax()
    nearest = torch.full_like(nearest, torch.inf)
    for place in range(1, budget):
        last = chosen[place - 1 : place]  # of one dimension: indexing by a tensor of none reads it on the host
        nearest = torch.minimum(nearest, distance.index_select(0, last)[0])
        nearest.index_fill_(0, last, -torch.inf)
        chosen[place] = nearest.argmax()
    return chosen
