"""Compact selections per slider step: why each token is kept, and its mixed score."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from adafv_core.mixing import BELOW_ONE
from adafv_core.types import Selection

SAME = 1e-6
"""Relative tolerance within which mixed scores count as equal: a few float32 ulps."""


def step_tables(
    selections: Sequence[Selection | None], rankings: Sequence[NDArray[np.float32]], steps: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """The payload's `tables` and `ranking`; adds `k_text`, `k_visual`, and `last` or `mixed` to each slider step.

    selections: one per step; None if nothing can be selected there. rankings: (N,) float32 each, the values that the
    method may have ranked by; the one that explains the most steps is sent.

    tables: per step, the reason for each token, two tokens per byte, the first in the low nibble. last: the mixed score
    is ranking / last, clamped to ≥ 1 for kept tokens and < 1 for the others; with 0 it is 1 for kept tokens, else 0.
    mixed: the step's mixed scores themselves, float32, if no ranking reproduces them.
    """
    ranking, lasts = max(((one, _lasts(one, selections)) for one in rankings), key=lambda pair: _explained(pair[1]))
    tables = []
    for selection, step, last in zip(selections, steps, lasts, strict=True):
        if selection is None:
            tables.append(_halves(np.zeros(ranking.size, np.uint8)))
            step["k_text"] = step["k_visual"] = 0
            continue
        tables.append(_halves(array(selection.why, np.uint8)))
        step["k_text"], step["k_visual"] = selection.k_text, selection.k_visual
        if last is None:
            step["mixed"] = packed(array(selection.mixed, np.float32))
        else:
            step["last"] = last
    return {"tables": tables, "ranking": packed(ranking)}


def _explained(lasts: Sequence[float | None]) -> int:
    return sum(last is not None for last in lasts)


def _lasts(ranking: NDArray[np.float32], selections: Sequence[Selection | None]) -> list[float | None]:
    return [None if selection is None else _last(ranking, selection) for selection in selections]


def _last(ranking: NDArray[np.float32], selection: Selection) -> float | None:
    """The divisor of the ranking that reproduces the selection's mixed scores; None if none does."""
    kept, mixed = array(selection.kept, np.bool_), array(selection.mixed, np.float32)
    at_one = ranking[kept & (mixed == 1)]
    for last in (0.0, float(at_one.max(initial=0.0))):
        if np.allclose(_over(ranking, kept, last), mixed, rtol=SAME, atol=0.0):
            return last
    return None


def _over(ranking: NDArray[np.float32], kept: NDArray[np.bool_], last: float) -> NDArray[np.float32]:
    if last <= 0:
        return kept.astype(np.float32)
    with np.errstate(over="ignore"):
        ratio = np.minimum(ranking / np.float32(last), np.finfo(np.float32).max)
    return np.where(kept, np.maximum(ratio, 1.0), np.minimum(ratio, BELOW_ONE)).astype(np.float32)


def _halves(why: NDArray[np.uint8]) -> str:
    even = np.zeros(why.size + why.size % 2, np.uint8)
    even[: why.size] = why
    return packed((even[0::2] | (even[1::2] << 4)).astype(np.uint8))


def array(values: Tensor, dtype: Any) -> NDArray[Any]:
    """A tensor's values on the CPU, as this NumPy dtype."""
    found: NDArray[Any] = values.detach().cpu().numpy().astype(dtype)
    return found


def packed(values: NDArray[Any]) -> str:
    """The array's bytes in base64."""
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return base64.b64encode(np.ascontiguousarray(little).tobytes()).decode("ascii")
