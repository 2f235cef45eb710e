"""Compact selections per slider step: why each token is kept, and its mixed score."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adafv_core.types import Selection


def step_tables(selections: Sequence[Selection | None], steps: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The payload's `tables` and `ranking`; each step gets `k_text`, `k_visual`, and `last` or `mixed`.

    selections: one per step; None where nothing can be selected. The ranking is that of the first selection that has
    one; methods rank alike at every budget.

    tables: per step, the reason for each token, two tokens per byte, the first in the low nibble. last: the mixed score
    is ranking / last, clamped to ≥ 1 for kept tokens and < 1 for the others; with 0 it is 1 for kept tokens, else 0.
    mixed: the step's mixed scores themselves, float32, if no ranking reproduces them.
    """
    made = [selection for selection in selections if selection is not None]
    size = made[0].kept.shape[0] if made else 0
    ranking = next((one.ranking for one in made if one.ranking is not None), torch.zeros(size))
    tables = []
    for selection, step in zip(selections, steps, strict=True):
        if selection is None:
            tables.append(_halves(np.zeros(size, np.uint8)))
            step["k_text"] = step["k_visual"] = 0
            continue
        tables.append(_halves(array(selection.why, np.uint8)))
        step["k_text"], step["k_visual"] = selection.k_text, selection.k_visual
        if selection.ranking is not None and torch.equal(selection.ranking, ranking):
            last = float(selection.threshold)
            step["last"] = last if math.isfinite(last) else 0.0  # infinite: the ranking chose nothing itself
        elif torch.equal(selection.mixed, selection.kept.float()):
            step["last"] = 0.0
        else:
            step["mixed"] = packed(array(selection.mixed, np.float32))
    return {"tables": tables, "ranking": packed(array(ranking, np.float32))}


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
