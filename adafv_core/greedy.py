"""Greedy orders of visual tokens: coverage (facility location) and diversity (determinantal point process).

Every order is nested: its first K picks do not depend on how many follow, so that one order serves every budget. Ties
go to the lower index. On an accelerator, no value is read back to the host inside a loop: a pick is a tensor of one
dimension, since indexing by a tensor of none reads it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def cosine_matrix(tokens: Tensor, centered: bool = False) -> Tensor:
    """(N, N) float32 cosines of (N, D) tokens of any floating dtype; a zero vector has cosine 0 with everything.

    centered: subtract the mean token first ("Cen-Prune", 2026), which spreads tokens that share a common direction.
    """
    values = tokens.detach().float()
    unit = functional.normalize(values - values.mean(dim=0) if centered else values, dim=-1)
    return unit @ unit.T


def min_max(values: Tensor) -> Tensor:
    """(N,) values scaled to [0, 1]; all 0 where they are equal. The divisor is offset by 1e-6, as CDPruner's is."""
    low = values.amin()
    return (values - low) / (values.amax() - low + 1e-6)


def coverage_order(
    similarity: Tensor,
    count: int,
    row_weight: Tensor | None = None,
    column_weight: Tensor | None = None,
    barred: Tensor | None = None,
) -> Tensor:
    """Greedy facility location: `count` columns that together cover the rows best, in the order of picking.

    similarity: (R, N) float, how well token j covers row i; only values above 0 count. Each pick is
    argmax_j w_j · Σ_i v_i · max(0, similarity[i, j] − best_i), where best_i is the coverage of row i so far.
    row_weight: v, (R,) ≥ 0. column_weight: w, (N,) ≥ 0. barred: (N,) bool, never picked. Returns (count,) int64.

    Gains below 1e-9 of the largest first gain count as 0, so that rounding never orders tokens that add nothing. On the
    CPU only the rows that a pick improved are updated, in float64: about N · ln(count) rows in all instead of
    N · count. On other devices all rows are recomputed after each pick, which needs no value on the host.
    """
    rows, size = similarity.shape
    scale = torch.ones(rows, device=similarity.device) if row_weight is None else row_weight.float()
    weight = torch.ones(size, device=similarity.device) if column_weight is None else column_weight.float()
    taken = torch.zeros(size, dtype=torch.bool, device=similarity.device) if barred is None else barred.clone()
    order = torch.zeros(count, dtype=torch.int64, device=similarity.device)
    best = torch.zeros(rows, device=similarity.device)
    sparse = similarity.device.type == "cpu"
    if sparse:
        weight, scale = weight.double(), scale.double()
    gain = _gain(similarity, scale, best)
    least = 1e-9 * (gain * weight).amax()
    for place in range(count):
        if place and not sparse:
            gain = _gain(similarity, scale, best)
        worth = gain * weight
        pick = torch.where(worth > least, worth, 0.0).masked_fill(taken, -torch.inf).argmax(dim=0, keepdim=True)
        order[place : place + 1] = pick
        taken.index_fill_(0, pick, True)
        column = similarity.index_select(1, pick)[:, 0]
        better = torch.maximum(best, column)
        if sparse:
            changed = (better > best).nonzero()[:, 0]
            block = similarity[changed]
            gain = gain - _gain(block, scale[changed], best[changed]) + _gain(block, scale[changed], better[changed])
        best = better
    return order


def _gain(similarity: Tensor, scale: Tensor, best: Tensor) -> Tensor:
    """(N,): Σ_i v_i · max(0, similarity[i, j] − best_i), in the dtype of v."""
    return scale @ (similarity - best[:, None]).clamp(min=0).to(scale.dtype)


def dpp_order(
    similarity: Tensor, quality: Tensor, count: int, first: Tensor | None = None, barred: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Greedy MAP of a determinantal point process with kernel diag(q) S diag(q) (CDPruner, 2506.10967).

    similarity: S, (N, N) cosines. quality: q, (N,) ≥ 0. Each pick is the token with the largest conditional variance
    d²; the variance that it explains is subtracted from the others. first: (M,) int64, M ≤ count, picked before all
    others, in this order. barred: (N,) bool, never picked. Variances below 1e-5 of the largest count as 0: beyond the
    rank of S only rounding errors remain, and the lower index is picked.

    Returns the order, (count,) int64, and (N,) float32 in [0, 1], how novel each token is: the share of its own
    variance not explained by the tokens picked before it (for tokens not picked: by all picked ones).
    """
    size = similarity.shape[0]
    kernel = quality.float()[:, None] * similarity * quality.float()[None]
    own = kernel.diagonal().clone()
    variance = own.clone()
    taken = torch.zeros(size, dtype=torch.bool, device=kernel.device) if barred is None else barred.clone()
    order = torch.zeros(count, dtype=torch.int64, device=kernel.device)
    at_pick = torch.zeros(size, device=kernel.device)
    factors = torch.zeros(count, size, device=kernel.device)
    least = 1e-5 * own.amax()
    given = 0 if first is None else first.shape[0]
    for place in range(count):
        if first is not None and place < given:
            pick = first[place : place + 1]
        else:
            pick = (
                torch.where(variance > least, variance, 0.0).masked_fill(taken, -torch.inf).argmax(dim=0, keepdim=True)
            )
        order[place : place + 1] = pick
        taken.index_fill_(0, pick, True)
        left = variance.index_select(0, pick)
        at_pick.index_copy_(0, pick, left)
        past = factors[:place]
        explained = past.index_select(1, pick)[:, 0] @ past
        # A token that earlier picks explain completely explains nothing more.
        row = (kernel.index_select(0, pick)[0] - explained) * left.clamp(min=1e-30).rsqrt()
        factors[place] = torch.where(left > least, row, torch.zeros_like(row))
        variance = variance - factors[place].square()
    picked = torch.zeros_like(taken)
    picked[order] = True
    remaining = torch.where(picked, at_pick, variance)
    return order, torch.where(own > 0, remaining / own.clamp(min=1e-30), 1.0).clamp(0.0, 1.0)


def evenly_over(sizes: Sequence[int], count: int) -> list[int]:
    """How many of `count` tokens each crop keeps: an equal share, with any remainder going to the first crops and the
    excess of a crop that is too small going to the next ones. sizes: tokens in each crop. The sum is `count`.
    """
    shares = [0] * len(sizes)
    left = count
    while left:
        open_crops = [crop for crop, size in enumerate(sizes) if shares[crop] < size]
        each = max(1, left // len(open_crops))
        for crop in open_crops:
            more = min(each, sizes[crop] - shares[crop], left)
            shares[crop] += more
            left -= more
    return shares
