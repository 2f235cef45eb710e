"""Self-adaptive cross-modality attention mixture (SACMAM, section 3): one budget, two rankings.

The arithmetic is fixed, so that another program (the page's script) can repeat it bit for bit. Scores are
read as float64 (float32 fits exactly). Each ranking is sorted descending, ties by lower index. T[k] and
V[k] are the first k scores of the text and the visual ranking added one after the other, in rank order,
in float64. For a budget K the pairs (k_text, k_visual) are compared by the float64 product T[k_text] ·
V[k_visual], without the square root, from k_text = 0 upwards; a later pair wins only if its product is
greater. For each k_text, k_visual is the largest with exactly K distinct tokens. `floor` asks for k_text,
k_visual ≥ ⌊floor · K⌋, that product taken in float64; such a pair always exists, since at k_text = ⌊floor
· K⌋ ≤ K / 2 the visual head is at least K − k_text long.

Mixed scores are float64 ratios, at most the largest float32, then rounded to float32; kept tokens are held at
no less than 1, the others at no more than 1 − 2⁻²⁴. On a side whose last accepted score is 0, accepted tokens
have 1 and the others 0; a side with nothing accepted has 0.

Tokens in `force_keep` are paid for first and leave both rankings, as do those in `force_drop`; what stands
here for N tokens and K then holds for the free tokens and the budget that is left.

All of it runs on the CPU, where float64 sums have one order on every machine; results go back to the device
of the scores.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from adafv_core.checks import check_budget, check_floor, check_mask, check_scores
from adafv_core.errors import BudgetError, InputError, ScoreError

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

BELOW_ONE = 1.0 - 2.0**-24
"""The float32 just below 1: the highest mixed score of a dropped token."""


@dataclass(frozen=True)
class Ranking:
    """Tokens ranked by one score, descending, ties by lower index; excluded tokens come last.

    order: (N,) int64, the token at each rank. rank: (N,) int64, the rank of each token. scores: (N,) float64, by
    token. sums: (N + 1,) float64, sums[k] = the first k scores added one after the other in rank order. Batched scores
    give all of them the same leading axes.
    """

    order: Tensor
    rank: Tensor
    scores: Tensor
    sums: Tensor


@dataclass(frozen=True)
class Mix:
    """The split of one budget. For batched scores every field gains a leading axis B.

    k_text, k_visual: () int64, lengths of the heads, counted among tokens that are not forced.
    kept: (N,) bool. mixed: (N,) float32, m_i of section 4, ≥ 1 exactly where kept, finite.
    in_text, in_visual: (N,) bool, the two heads; forced tokens are in neither.
    """

    k_text: Tensor
    k_visual: Tensor
    kept: Tensor
    mixed: Tensor
    in_text: Tensor
    in_visual: Tensor


@dataclass(frozen=True)
class BudgetPath:
    """The best split for every budget. k_text, k_visual: (N + 1,) or (B, N + 1) int64, index K = 0..N.

    −1 for budgets that cannot be met: smaller than the number of tokens in `force_keep`, or larger than what
    `force_drop` leaves.
    """

    k_text: Tensor
    k_visual: Tensor


@dataclass(frozen=True)
class SplitCurve:
    """Every admissible split of one budget, in ascending order of k_text.

    k_text, k_visual: (M,) int64. geometric_mean: (M,) float64, sqrt(T[k_text] · V[k_visual]). best: index of the pair
    that `mix` picks.
    """

    k_text: Tensor
    k_visual: Tensor
    geometric_mean: Tensor
    best: int


@dataclass(frozen=True)
class _Split:
    """One image: both rankings, the tokens that are forced to stay, and the number of free tokens."""

    text: Ranking
    visual: Ranking
    forced: Tensor
    n_forced: int
    n_free: int


def rank(scores: Tensor, excluded: Tensor | None = None) -> Ranking:
    """Rank (…, N) scores ≥ 0 on the CPU in float64; tokens in the bool mask `excluded` rank last and add 0 to sums."""
    narrow = scores.dtype != torch.float64
    scores = scores.to("cpu", torch.float64)
    keys = scores if excluded is None else scores.masked_fill(excluded, -1.0)
    if narrow:
        order = torch.from_numpy(_descending(keys.float().numpy()))
        sorted_keys = keys.gather(-1, order)
    else:
        sorted_keys, order = keys.sort(dim=-1, descending=True, stable=True)
    places = torch.arange(scores.shape[-1]).expand_as(order)
    sums = functional.pad(sorted_keys.clamp_(min=0).cumsum(dim=-1), (1, 0))
    return Ranking(order, torch.empty_like(order).scatter_(-1, order, places), scores, sums)


def _descending(scores: Floats) -> Integers:
    """(…, N) int64, the order of float32 values of at least −1, descending, ties by lower index.

    One sort of 64-bit integers, faster than a stable one: float32 numbers ≥ 0 are ordered as their bits are, so the
    value stands in the upper half and the index, counted down, in the lower half.
    """
    last = scores.shape[-1] - 1
    upper = np.where(scores < 0, -1, (scores + np.float32(0.0)).view(np.int32)).astype(np.int64) + 1
    keys = (upper << 32) | np.arange(last, -1, -1)
    keys.sort(axis=-1)
    order: Integers = last - (keys[..., ::-1] & 0xFFFFFFFF)
    return order


def top_k(scores: Tensor, k: int) -> Tensor:
    """(k,) int64, the indices of the k largest of (N,) scores, descending, ties by lower index."""
    return scores.sort(descending=True, stable=True).indices[:k]


def largest_k_visual(text: Ranking, visual: Ranking, budget: int) -> Tensor:
    """The longest visual head that fits the budget together with each text head, for the rankings of one image.

    budget: 0..N distinct tokens. Returns (budget + 1,) int64: for each k_text, the largest k_visual with
    |top_{k_text} ∪ top_{k_visual}| = budget. O(N), like `admissible` in the page's script.
    """
    visual_rank_by_text_rank = visual.rank[text.order[:budget]].tolist()
    text_rank_by_visual_rank = text.rank[visual.order[: budget + 1]].tolist()  # a head is no longer than the budget
    size, k_visual, largest = len(text_rank_by_visual_rank), budget, [budget]
    for k_text in range(1, budget + 1):
        if visual_rank_by_text_rank[k_text - 1] >= k_visual:
            # The text head adds a new token, so the visual head gives up its last one that the text head lacks.
            k_visual -= 1
            while text_rank_by_visual_rank[k_visual] < k_text:
                k_visual -= 1
        while k_visual < size and text_rank_by_visual_rank[k_visual] < k_text:
            k_visual += 1  # already counted in the text head
        largest.append(k_visual)
    return torch.from_numpy(np.array(largest, np.int64))  # torch.tensor reads a list several times as slowly


def mix(
    t2i: Tensor,
    saliency: Tensor,
    budget: int,
    floor: float = 0.0,
    force_keep: Tensor | None = None,
    force_drop: Tensor | None = None,
) -> Mix:
    """Split one budget by the largest geometric mean (section 3) and score every token (section 4).

    t2i, saliency: (N,) or (B, N), ≥ 0, any floating dtype. budget: K, 1..N. floor: 0..0.5.
    force_keep, force_drop: bool masks of the same shape; forced tokens count in the budget.
    Ties: the smaller k_text. O(N log N). Raises ScoreError, BudgetError, InputError.
    """
    splits = _prepare(t2i, saliency, force_keep, force_drop)
    budget, floor = check_budget(budget, t2i.shape[-1]), check_floor(floor)
    rows = [_mix_row(split, budget, floor) for split in splits]
    fields = (torch.stack(values).to(t2i.device) for values in zip(*rows, strict=True))
    return Mix(*fields) if t2i.dim() == 2 else Mix(*(values[0] for values in fields))


def split_curve(
    t2i: Tensor,
    saliency: Tensor,
    budget: int,
    floor: float = 0.0,
    force_keep: Tensor | None = None,
    force_drop: Tensor | None = None,
) -> SplitCurve:
    """The geometric mean of every admissible split of one budget; arguments as in `mix`, but unbatched (N,) only."""
    splits = _prepare(t2i, saliency, force_keep, force_drop)
    if t2i.dim() != 1:
        raise InputError(f"split_curve takes the scores of one image, shape (N,); got {tuple(t2i.shape)}.")
    k_visual, product = _products(splits[0], check_budget(budget, t2i.shape[0]), check_floor(floor))
    k_text = (product >= 0).nonzero()[:, 0]
    admissible = product[k_text]
    return SplitCurve(k_text, k_visual[k_text], admissible.sqrt(), int(admissible.argmax()))


def budget_path(
    t2i: Tensor,
    saliency: Tensor,
    floor: float = 0.0,
    force_keep: Tensor | None = None,
    force_drop: Tensor | None = None,
) -> BudgetPath:
    """The pair that `mix` picks, for every budget K = 0..N at once (what a slider needs).

    Arguments as in `mix`. Together with the two rankings, two numbers per K reproduce every mask. O(N²) time at worst,
    in blocks of bounded memory.
    """
    splits = _prepare(t2i, saliency, force_keep, force_drop)
    floor, size = check_floor(floor), t2i.shape[-1]
    paths = torch.full((2, len(splits), size + 1), -1, dtype=torch.int64)
    for row, split in enumerate(splits):
        path = torch.from_numpy(_path_row(split, floor))
        paths[:, row, split.n_forced : split.n_forced + split.n_free + 1] = path
    if t2i.dim() == 1:
        paths = paths[:, 0]
    return BudgetPath(paths[0].to(t2i.device), paths[1].to(t2i.device))


def _prepare(t2i: Tensor, saliency: Tensor, force_keep: Tensor | None, force_drop: Tensor | None) -> list[_Split]:
    """One _Split per image."""
    t2i, saliency = check_scores("t2i", t2i), check_scores("saliency", saliency)
    if t2i.shape != saliency.shape:
        raise ScoreError(
            "t2i and saliency must score the same visual tokens; "
            f"got shapes {tuple(t2i.shape)} and {tuple(saliency.shape)}."
        )
    size = t2i.shape[-1]
    if force_keep is None and force_drop is None:
        nothing = torch.zeros(size, dtype=torch.bool)
        pairs = zip(t2i.reshape(-1, size), saliency.reshape(-1, size), strict=True)
        return [_Split(rank(text), rank(visual), nothing, 0, size) for text, visual in pairs]
    nothing = torch.zeros(t2i.shape, dtype=torch.bool)
    keep = nothing if force_keep is None else check_mask("force_keep", force_keep, t2i.shape)
    drop = nothing if force_drop is None else check_mask("force_drop", force_drop, t2i.shape)
    if bool((keep & drop).any()):
        raise InputError(f"{int((keep & drop).sum())} visual tokens are in both force_keep and force_drop.")
    rows = zip(*(one.reshape(-1, size) for one in (t2i, saliency, keep, keep | drop)), strict=True)
    return [
        _Split(rank(text, excluded), rank(visual, excluded), forced, int(forced.sum()), int((~excluded).sum()))
        for text, visual, forced, excluded in rows
    ]


def _mix_row(split: _Split, budget: int, floor: float) -> tuple[Tensor, ...]:
    """The fields of `Mix` for one image."""
    k_visual_of, product = _products(split, budget, floor)
    k_text = product.argmax()
    k_visual = k_visual_of[k_text]
    in_text, in_visual = split.text.rank < k_text, split.visual.rank < k_visual
    kept = in_text | in_visual | split.forced
    ratio = torch.maximum(_ratio(split.text, int(k_text)), _ratio(split.visual, int(k_visual)))
    mixed = ratio.clamp(max=torch.finfo(torch.float32).max).float()
    mixed = torch.where(kept, mixed.clamp(min=1.0), mixed.clamp(max=BELOW_ONE))
    return k_text, k_visual, kept, mixed, in_text, in_visual


def _products(split: _Split, budget: int, floor: float) -> tuple[Tensor, Tensor]:
    """For k_text from 0 to the budget that forced tokens leave: k_visual, and T · V or −1 for an inadmissible pair.

    Raises BudgetError if the masks do not allow this budget.
    """
    left = budget - split.n_forced
    if left < 0:
        raise BudgetError(
            f"{split.n_forced} visual tokens are forced to stay, more than the budget of {budget}: "
            "keep more tokens or force fewer."
        )
    if left > split.n_free:
        raise BudgetError(
            f"The tokens forced to go leave {split.n_forced + split.n_free} visual tokens, fewer than the budget of "
            f"{budget}: keep fewer tokens or force fewer to go."
        )
    k_visual = largest_k_visual(split.text, split.visual, left)
    least = math.floor(floor * left)
    product = split.text.sums[: left + 1] * split.visual.sums[k_visual]
    product[:least] = -1.0
    return k_visual, product.masked_fill_(k_visual < least, -1.0)


def _ratio(ranking: Ranking, k: int) -> Tensor:
    """(N,) float64, each score divided by the k-th; 1 or 0 by rank if that is 0; 0 everywhere for k = 0."""
    if k == 0:
        return torch.zeros_like(ranking.scores)
    last = ranking.scores[ranking.order[k - 1]]
    return ranking.scores / last if last > 0 else (ranking.rank < k).double()


def _path_row(split: _Split, floor: float, block: int = 32) -> Integers:
    """(2, size + 1): best k_text and k_visual of one image for every budget of its size = n_free tokens.

    For one k_text, the visual ranks of tokens with text rank ≥ k_text are, in order, the k_visual of budgets k_text,
    k_text + 1, …, size − 1; a budget of `size` takes them all. The next k_text has the same list without one entry.

    Of the O(N²) pairs only those are tried that can win: `reached` is what the first k_text of each block attains for
    each budget, and no pair of a block exceeds its largest T with the k_visual of its first k_text, which is the
    largest. Rounding is monotone, so neither bound is ever wrong.
    """
    size = split.n_free
    text_rank = split.text.rank[split.visual.order[:size]].numpy()
    visual_rank = split.visual.rank[split.text.order[:size]].numpy()
    text_sums, visual_sums = split.text.sums.numpy(), split.visual.sums.numpy()
    least = np.floor(floor * np.arange(size + 1.0)).astype(np.int64)
    lows = range(0, size + 1, block)
    firsts = [np.append(np.flatnonzero(text_rank >= low), size) for low in lows]
    reached = np.full(size + 1, -1.0)
    for low, first in zip(lows, firsts, strict=True):
        product = text_sums[low] * visual_sums[first]
        product[(low < least[low:]) | (first < least[low:])] = -1.0
        np.maximum(reached[low:], product, out=reached[low:])
    best = np.full(size + 1, -1.0)
    path = np.zeros((2, size + 1), np.int64)
    for low, first in zip(lows, firsts, strict=True):
        k_text = np.arange(low, min(low + block, size + 1))[:, None]
        hopeful = np.flatnonzero(text_sums[k_text[-1]] * visual_sums[first] >= reached[low:])
        if not hopeful.size:
            continue
        start, end = int(hopeful[0]), int(hopeful[-1]) + 1
        gone = np.searchsorted(first, visual_rank[low : low + k_text.size - 1]).tolist()
        k_visual = _without_one_more(first, gone, start, end)
        budgets = np.arange(low + start, low + end)
        product = visual_sums.take(k_visual)
        product *= text_sums[k_text]
        product[(k_text > budgets) | (k_text < least[budgets]) | (k_visual < least[budgets])] = -1.0
        top = product.max(axis=0)
        better = np.flatnonzero(top > best[budgets])
        row, won = (product[:, better] == top[better]).argmax(axis=0), budgets[better]
        best[won], path[0, won], path[1, won] = top[better], low + row, k_visual[row, better]
    return path


def _without_one_more(entries: Integers, gone: list[int], start: int, end: int) -> Integers:
    """(len(gone) + 1, end − start): row j holds the entries without those at gone[:j], moved j places to the right, in
    columns start … end − 1; what is moved in from the left of the first entry is 0.
    """
    rows = len(gone) + 1
    begin = max(0, start - rows)
    left = np.zeros((rows, end - begin), np.int64)
    left[0] = entries[begin:end]
    taken: list[int] = []
    for row, place in enumerate(gone, 1):
        before = bisect.bisect_left(taken, place)
        taken.insert(before, place)
        split = min(max(row + place - before - begin, 1), end - begin)
        left[row, 1:split] = left[row - 1, : split - 1]
        left[row, split:] = left[row - 1, split:]
    return left[:, start - begin :]
