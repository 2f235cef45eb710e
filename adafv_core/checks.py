"""Argument checks; every message states what was expected and what was passed."""

from __future__ import annotations

import math
import operator
from numbers import Real

import torch
from torch import Tensor

from adafv_core.errors import BudgetError, InputError, ScoreError, UnknownNameError

MAX_TEMPERATURE = 1e6


def check_scores(name: str, scores: Tensor) -> Tensor:
    """Return the scores, detached: (N,) or (B, N), any floating point dtype.

    Raises ScoreError unless they are a floating point tensor of one or two axes with N ≥ 1, all finite and ≥ 0.
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


def whole(
    name: str, value: object, low: int | None = None, high: int | None = None, error: type[InputError] = InputError
) -> int:
    """The value as an int. Raises `error` unless it is an integer (of Python, NumPy or torch) within low..high."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is not None and (low is None or number >= low) and (high is None or number <= high):
        return number
    span = "" if low is None else f" of at least {low}" if high is None else f" from {low} to {high}"
    raise error(f"{name} must be a whole number{span}; got {_shown(value)}.")


def real(
    name: str, value: object, low: float, high: float, above: bool = False, error: type[InputError] = InputError
) -> float:
    """The value as a float. Raises `error` unless it is a real number in [low, high], or in (low, high] if `above`."""
    try:
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.inf
    if (low < number if above else low <= number) and number <= high:
        return number
    span = f"above {low:g} and at most {high:,.12g}" if above else f"from {low:g} to {high:g}"
    raise error(f"{name} must be {span}; got {_shown(value)}.")


def _shown(value: object) -> str:
    # Python refuses to print integers of more than 4300 digits.
    return f"a number of {value.bit_length()} bits" if isinstance(value, int) and abs(value) >> 64 else repr(value)


def check_budget(budget: int, size: int) -> int:
    """The budget K as an int; BudgetError unless it is a whole number with 1 ≤ K ≤ size."""
    return whole("The budget of visual tokens", budget, 1, size, BudgetError)


def budget_from_keep_ratio(keep_ratio: float, size: int) -> int:
    """K = round(keep_ratio · N), at least 1; ties round to even, as in Python's `round`.

    keep_ratio: the fraction kept. size: N ≥ 1. Raises BudgetError unless 0 < keep_ratio ≤ 1.
    """
    return max(1, round(check_keep_ratio(keep_ratio) * size))


def check_keep_ratio(keep_ratio: float) -> float:
    """The keep ratio as a float; BudgetError unless 0 < keep_ratio ≤ 1."""
    return real("keep_ratio, the fraction of visual tokens kept,", keep_ratio, 0, 1, above=True, error=BudgetError)


def check_floor(floor: float) -> float:
    """The floor as a float; InputError unless 0 ≤ floor ≤ 0.5."""
    return real("floor, the guaranteed share of each side,", floor, 0, 0.5)


def check_temperature(temperature: float) -> float:
    """The temperature γ as a float; InputError unless 0 < γ ≤ 10⁶ (float32 cosines are too coarse beyond that)."""
    return real("temperature (100 by default)", temperature, 0, MAX_TEMPERATURE, above=True)


def check_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    """UnknownNameError unless the value is one of the choices."""
    if value not in choices:
        raise UnknownNameError(f"{option} must be one of {', '.join(choices)}; got {value!r}.")


def check_mask(name: str, mask: Tensor, shape: torch.Size) -> Tensor:
    """A bool mask on the CPU; InputError unless it is a bool tensor of exactly this shape."""
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != shape:
        came = f"{mask.dtype} {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
        raise InputError(f"{name} must be a bool tensor of shape {tuple(shape)}, like the scores; got {came}.")
    return mask.detach().cpu()


def check_weight(name: str, value: float, least: float, most: float) -> float:
    """An option as a float; InputError unless it is a number from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, Real) or not least <= value <= most:
        raise InputError(f"{name} must be a number from {least:g} to {most:g}; got {value!r}.")
    return float(value)


def check_forced(
    force_keep: Tensor | None, force_drop: Tensor | None, size: int, budget: int, device: torch.device
) -> tuple[Tensor | None, Tensor | None]:
    """The tokens that are always kept, (M,) int64 ascending, and the (N,) bool mask of those that never are.

    Raises InputError for masks of the wrong type or shape or that overlap, BudgetError if the budget is too small for
    the first or larger than what the second leaves.
    """
    shape = torch.Size((size,))
    keep = None if force_keep is None else check_mask("force_keep", force_keep, shape)
    drop = None if force_drop is None else check_mask("force_drop", force_drop, shape)
    if keep is not None and drop is not None and bool((keep & drop).any()):
        raise InputError(f"{int((keep & drop).sum())} visual tokens are in both force_keep and force_drop.")
    if keep is not None and int(keep.sum()) > budget:
        raise BudgetError(
            f"{int(keep.sum())} visual tokens are forced to stay, more than the budget of {budget}: "
            "keep more tokens or force fewer."
        )
    if drop is not None and size - int(drop.sum()) < budget:
        raise BudgetError(
            f"Only {size - int(drop.sum())} visual tokens may stay, fewer than the budget of {budget}: "
            "keep fewer tokens or drop fewer by force."
        )
    first = None if keep is None else keep.nonzero()[:, 0].to(device)
    return first, None if drop is None else drop.to(device)
