"""Confidence intervals and paired tests. Questions on one picture are not independent, so pictures are resampled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 4000
LEVEL = 0.95
_DETECTABLE_Z = 1.959964 + 0.841621
"""Standard errors that a true difference must have to be found at the 5 % level, two-sided, with a power of 80 %."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A value with the ends of its 95 % bootstrap percentile interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Paired:
    """One method compared with another on the same questions.

    difference: mean score of the first minus that of the other. p_bootstrap: two-sided, over pictures.
    only_first, only_other: number of questions that only one of them answers correctly. p_mcnemar: exact, two-sided,
    over questions; it assumes that they are independent, so rely on the bootstrap. detectable: the smallest true
    difference that this many questions find with a power of 80 % at the 5 % level, from the bootstrap's standard error.
    n_for_a_point: how many questions would find a difference of 0.01.
    """

    difference: Interval
    p_bootstrap: float
    only_first: int
    only_other: int
    p_mcnemar: float
    detectable: float
    n_for_a_point: int


def draw_weights(pictures: int, resamples: int = RESAMPLES, seed: int = 0) -> Array:
    """(resamples, pictures) float64: how often each picture is drawn in each bootstrap sample."""
    rng = np.random.Generator(np.random.PCG64(seed))
    drawn = rng.multinomial(pictures, np.full(pictures, 1.0 / pictures), size=resamples)
    return drawn.astype(np.float64)


def by_picture(values: Array, picture: NDArray[np.int64], pictures: int) -> Array:
    """(pictures,) float64: values of questions summed by the picture they belong to."""
    return np.bincount(picture, weights=values, minlength=pictures).astype(np.float64)


def interval(value: float, samples: Array) -> Interval:
    """The middle 95 % of bootstrap samples around a value; NaN samples are ignored."""
    usable = samples[np.isfinite(samples)]
    if usable.size == 0:
        return Interval(value, math.nan, math.nan)
    low, high = np.quantile(usable, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))


def ratio_interval(top: Array, bottom: Array, weights: Array, scale: float = 1.0) -> Interval:
    """scale · Σ top / Σ bottom over pictures, with its interval. top, bottom: (pictures,) sums."""
    total = bottom.sum()
    value = scale * float(top.sum() / total) if total else math.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        samples = scale * (weights @ top) / (weights @ bottom)
    return interval(value, samples)


def paired(first: Array, other: Array, picture: NDArray[np.int64], weights: Array) -> Paired:
    """Compare the scores (questions,) of two methods on the same questions.

    picture: (questions,) int64, index of each question's picture. weights: of `draw_weights`.
    """
    pictures = weights.shape[1]
    gap = by_picture(first - other, picture, pictures)
    count = by_picture(np.ones_like(first), picture, pictures)
    difference = ratio_interval(gap, count, weights)
    samples = (weights @ gap) / np.maximum(weights @ count, 1.0)
    below, above = int((samples <= 0).sum()), int((samples >= 0).sum())
    p_bootstrap = min(1.0, 2 * (min(below, above) + 1) / (samples.size + 1))
    right, other_right = first >= 0.5, other >= 0.5
    only_first = int((right & ~other_right).sum())
    only_other = int((other_right & ~right).sum())
    detectable = _DETECTABLE_Z * float(samples.std())
    n_for_a_point = math.ceil(len(first) * (detectable / 0.01) ** 2)
    p_mcnemar = mcnemar(only_first, only_other)
    return Paired(difference, p_bootstrap, only_first, only_other, p_mcnemar, detectable, n_for_a_point)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment: below the level where a test stands after correction for all of them, in order."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def mcnemar(only_first: int, only_other: int) -> float:
    """Exact two-sided McNemar test: the probability of a split at least this uneven if both were equally good."""
    total, least = only_first + only_other, min(only_first, only_other)
    tail = sum(math.comb(total, count) for count in range(least + 1))
    return min(1.0, float(2 * tail / (1 << total)))
