"""Maps values to positions on a color map, 0..1, as `static/core/scale.js` does for the page."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_DROPPED_TO, _KEPT_FROM = 0.5, 0.55
_SHAPES: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "root": np.sqrt,
    "linear": lambda shares: shares,
}


def plain_levels(values: NDArray[np.float64], scale: str = "root") -> NDArray[np.float64]:
    """(N,) values ≥ 0 as positions on a color map: their share of the highest, or their rank among all."""
    if scale == "rank":
        return 1 - _ranks(values) / max(1, values.size - 1)
    high = values.max(initial=0.0)
    return _SHAPES[scale](values.clip(min=0) / high) if high > 0 else np.zeros_like(values)


def mixed_levels(values: NDArray[np.float64], scale: str = "root") -> NDArray[np.float64]:
    """(N,) mixed scores as positions on a color map: dropped tokens (below 1) in the lower half by the scale, kept ones
    in the upper half by their logarithm; or, for "rank", each half by rank.
    """
    kept = values >= 1
    if scale == "rank":
        ranks, count = _ranks(values), int(kept.sum())
        upper = 1 - (1 - _KEPT_FROM) * ranks / max(1, count - 1)
        lower = _DROPPED_TO * (1 - (ranks - count) / max(1, values.size - count - 1))
        return np.where(kept, upper, lower)
    span = np.log(values.max(initial=1.0))
    above = np.log(values.clip(min=1)) / span if span > 0 else np.ones_like(values)
    return np.where(kept, _KEPT_FROM + (1 - _KEPT_FROM) * above, _DROPPED_TO * _SHAPES[scale](values.clip(0, 1)))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.int64]:
    ranks = np.empty(values.size, np.int64)
    ranks[np.argsort(-values, kind="stable")] = np.arange(values.size)
    return ranks
