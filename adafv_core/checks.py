"""Checks on what a caller passes to the tensor functions; each says what was expected and what came."""

from __future__ import annotations

import operator
from numbers import Real

import torch
from torch import Tensor

from adafv_core.errors import BudgetError, InputError, ScoreError

MOST_TEMPERATURE = 1e6


def check_scores(name: str, scores: Tensor) -> Tensor:
    """Detached scores, (N,) or (B, N), any floating dtype, unchanged otherwise.

    Raises ScoreError unless they are a floating tensor of one or two axes with N ≥ 1, all finite and ≥ 0.
    """
    if not isinstance(scores, Tensor) or not scores.is_floating_point():
        came = f"a {scores.dtype} tensor" if isinstance(scores, Tensor) else type(scores).__name__
        raise ScoreError(f"{name} must be a floating point tensor of shape (N,) or (B, N); got {came}.")
    if scores.dim() not in (1, 2) or scores.numel() == 0:
        raise ScoreError(f"{name} must have shape (N,) or (B, N) with at least one token; got {tuple(scores.shape)}.")
    scores = scores.detach()
    bad = int((~torch.isfinite(scores)).sum())
    if bad:
        raise ScoreError(f"{name} must be finite; {bad} of {scores.numel()} values are NaN or infinite.")
    lowest = float(scores.min())
    if lowest < 0:
        raise ScoreError(f"{name} are attention weights and must be ≥ 0; the lowest is {lowest:.3g}.")
    return scores


def check_pair(t2i: Tensor, saliency: Tensor) -> tuple[Tensor, Tensor]:
    """Both score vectors, checked; ScoreError unless their shapes are equal."""
    t2i, saliency = check_scores("t2i", t2i), check_scores("saliency", saliency)
    if t2i.shape != saliency.shape:
        raise ScoreError(
            "t2i and saliency must score the same visual tokens; "
            f"got shapes {tuple(t2i.shape)} and {tuple(saliency.shape)}."
        )
    return t2i, saliency


def check_budget(budget: int, size: int) -> int:
    """The budget K as an int; BudgetError unless it is a whole number with 1 ≤ K ≤ size."""
    try:
        whole = operator.index(budget)
    except TypeError:
        raise BudgetError(f"The budget must be a whole number from 1 to {size}; got {budget!r}.") from None
    if isinstance(budget, bool) or not 1 <= whole <= size:
        raise BudgetError(f"The budget must be between 1 and the {size} visual tokens; got {budget!r}.")
    return whole


def budget_from_keep_ratio(keep_ratio: float, size: int) -> int:
    """K = round(keep_ratio · N), at least 1 (halves go to the even neighbor, as Python's `round`).

    keep_ratio: the fraction kept. size: N ≥ 1. Raises BudgetError unless 0 < keep_ratio ≤ 1.
    """
    return max(1, round(check_keep_ratio(keep_ratio) * size))


def check_keep_ratio(keep_ratio: float) -> float:
    """The keep ratio as a float; BudgetError unless 0 < keep_ratio ≤ 1."""
    number = isinstance(keep_ratio, Real) and not isinstance(keep_ratio, bool)
    if not number or not 0 < keep_ratio <= 1:
        raise BudgetError(
            f"keep_ratio is the fraction of visual tokens kept, above 0 and at most 1; got {keep_ratio!r}."
        )
    return float(keep_ratio)


def check_floor(floor: float) -> float:
    """The floor as a float; InputError unless 0 ≤ floor ≤ 0.5."""
    if isinstance(floor, bool) or not isinstance(floor, Real) or not 0 <= floor <= 0.5:
        raise InputError(f"floor is each side's guaranteed share, from 0 to 0.5; got {floor!r}.")
    return float(floor)


def check_temperature(temperature: float) -> float:
    """The temperature γ as a float; InputError unless 0 < γ ≤ 10⁶ (float32 cosines are no finer than that)."""
    number = isinstance(temperature, Real) and not isinstance(temperature, bool)
    if not number or not 0 < temperature <= MOST_TEMPERATURE:
        raise InputError(
            "temperature must be finite and above 0, at most "
            f"{MOST_TEMPERATURE:,.0f} (100 is the default); got {temperature!r}."
        )
    return float(temperature)


def check_mask(name: str, mask: Tensor, shape: torch.Size) -> Tensor:
    """A bool mask on the CPU; InputError unless it is a bool tensor of exactly this shape."""
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != shape:
        came = f"{mask.dtype} {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
        raise InputError(f"{name} must be a bool tensor of shape {tuple(shape)}, as the scores; got {came}.")
    return mask.detach().cpu()
