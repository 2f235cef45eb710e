"""Rankings of visual tokens by two scores, and how far one head may reach for each length of the other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Ranking:
    """Tokens by one score, descending, ties by lower index; excluded tokens behind all others.

    order: (B, N) int64, the token at each rank. rank: (B, N) int64, the rank of each token.
    scores: (B, N) float64, by token. sums: (B, N + 1) float64, sums[:, k] = the first k scores added one
    after the other in rank order.
    """

    order: Tensor
    rank: Tensor
    scores: Tensor
    sums: Tensor


def rank(scores: Tensor, excluded: Tensor | None = None) -> Ranking:
    """Rank (B, N) scores ≥ 0 on the CPU in float64; `excluded` (B, N) bool tokens go last and add nothing."""
    scores = scores.to("cpu", torch.float64)
    keys = scores if excluded is None else scores.masked_fill(excluded, -1.0)
    sorted_keys, order = keys.sort(dim=1, descending=True, stable=True)
    places = torch.arange(scores.shape[1]).expand_as(order)
    sums = functional.pad(sorted_keys.clamp(min=0).cumsum(dim=1), (1, 0))
    return Ranking(order, torch.empty_like(order).scatter_(1, order, places), scores, sums)


def top_k(scores: Tensor, k: int) -> Tensor:
    """(k,) int64, the indices of the k largest of (N,) scores, descending, ties by lower index."""
    return scores.sort(descending=True, stable=True).indices[:k]


def largest_k_visual(text: Ranking, visual: Ranking, budget: Tensor) -> Tensor:
    """The longest visual head that fits the budget beside each text head.

    budget: (B,) int64, 0..N distinct tokens. Returns (B, N + 1) int64: at k_text ≤ budget, the largest
    k_visual with |top_{k_text} ∪ top_{k_visual}| = budget; beyond the budget the value has no meaning.

    The union holds k_text tokens and those of the visual head whose text rank is ≥ k_text. It is still
    `budget` just before the visual head would take one such token more, so k_visual is the visual rank of
    number budget − k_text (from 0) among tokens of text rank ≥ k_text. There are N − k_text of them: counted
    from the other end it is always the (N − budget)-th largest visual rank of a suffix of the text ranking.
    """
    size = text.rank.shape[1]
    visual_rank_by_text_rank = visual.rank.gather(1, text.order)
    nth = (size - budget).unsqueeze(1)
    reach = _nth_largest_of_suffixes(visual_rank_by_text_rank, nth)
    return torch.where(nth == 0, size, reach)


def _nth_largest_of_suffixes(values: Tensor, nth: Tensor) -> Tensor:
    """The nth largest (from 1) of values[:, s:] for every start s = 0..N, as (B, N + 1).

    values: (B, N), in each row a permutation of 0..N − 1. nth: (B, 1). One stable partition a bit, from the
    highest (a wavelet matrix); every suffix is followed through all of them at once: O(N log N) in all.
    """
    rows, size = values.shape
    start = torch.arange(size + 1).expand(rows, -1)
    end = torch.full_like(start, size)
    left = (nth - 1).clamp(min=0).expand(rows, size + 1)
    found = torch.zeros_like(start)
    for bit in reversed(range(max(1, (size - 1).bit_length()))):
        high = (values >> bit) & 1
        ones = functional.pad(high.cumsum(dim=1), (1, 0))
        zeros = size - ones[:, -1:]
        before_start, before_end = ones.gather(1, start), ones.gather(1, end)
        inside = before_end - before_start
        up = left < inside
        start = torch.where(up, zeros + before_start, start - before_start)
        end = torch.where(up, zeros + before_end, end - before_end)
        left = torch.where(up, left, left - inside)
        found = found + (up.long() << bit)
        values = values.gather(1, high.argsort(dim=1, stable=True))
    return found
