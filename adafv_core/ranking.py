"""Rankings of visual tokens by two scores, and how far one head may reach for each length of the other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Ranking:
    """Tokens by one score, descending, ties by lower index; excluded tokens behind all others.

    order: (N,) int64, the token at each rank. rank: (N,) int64, the rank of each token. scores: (N,) float64, by
    token. sums: (N + 1,) float64, sums[k] = the first k scores added one after the other in rank order. All with
    leading axes where the scores have them.
    """

    order: Tensor
    rank: Tensor
    scores: Tensor
    sums: Tensor


def rank(scores: Tensor, excluded: Tensor | None = None) -> Ranking:
    """Rank (…, N) scores ≥ 0 on the CPU in float64; tokens in the bool mask `excluded` go last and add nothing."""
    scores = scores.to("cpu", torch.float64)
    keys = scores if excluded is None else scores.masked_fill(excluded, -1.0)
    sorted_keys, order = keys.sort(dim=-1, descending=True, stable=True)
    places = torch.arange(scores.shape[-1]).expand_as(order)
    sums = functional.pad(sorted_keys.clamp(min=0).cumsum(dim=-1), (1, 0))
    return Ranking(order, torch.empty_like(order).scatter_(-1, order, places), scores, sums)


def top_k(scores: Tensor, k: int) -> Tensor:
    """(k,) int64, the indices of the k largest of (N,) scores, descending, ties by lower index."""
    return scores.sort(descending=True, stable=True).indices[:k]


def largest_k_visual(text: Ranking, visual: Ranking, budget: int) -> Tensor:
    """The longest visual head that fits the budget beside each text head, for rankings of one image.

    budget: 0..N distinct tokens. Returns (budget + 1,) int64: for each k_text, the largest k_visual with
    |top_{k_text} ∪ top_{k_visual}| = budget. O(N), as `admissible` of the page's script.
    """
    visual_rank_by_text_rank = visual.rank[text.order].tolist()
    text_rank_by_visual_rank = text.rank[visual.order].tolist()
    size, k_visual, largest = len(text_rank_by_visual_rank), budget, [budget]
    for k_text in range(1, budget + 1):
        if visual_rank_by_text_rank[k_text - 1] >= k_visual:
            # The text head pays for a new token: the visual head gives up its last one that the text head lacks.
            k_visual -= 1
            while text_rank_by_visual_rank[k_visual] < k_text:
                k_visual -= 1
        while k_visual < size and text_rank_by_visual_rank[k_visual] < k_text:
            k_visual += 1  # already paid for by the text head
        largest.append(k_visual)
    return torch.tensor(largest)
