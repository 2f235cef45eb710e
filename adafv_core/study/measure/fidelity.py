"""How far a pruned run departs from the run with all visual tokens, beyond whether its answer is right."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from adafv_core.study.measure.intervals import Array
from adafv_core.types import Answer

TOP = 16
"""Tokens of the first distribution that a results file keeps; all others count as one."""
BINS = 15
_RESOLUTION = 1e-7


@dataclass(frozen=True)
class Reference:
    """The run with all visual tokens.

    ids: token ids of its answer. top_ids, top_logprobs: the TOP likeliest first tokens, and their log-probabilities.
    """

    ids: tuple[int, ...]
    top_ids: tuple[int, ...]
    top_logprobs: tuple[float, ...]

    @classmethod
    def of(cls, answer: Answer) -> Reference | None:
        """From an answer; None if it has no first distribution."""
        if answer.first_logprobs is None:
            return None
        values, ids = answer.first_logprobs.topk(min(TOP, answer.first_logprobs.numel()))
        return cls(answer.token_ids, tuple(ids.tolist()), tuple(round(one, 4) for one in values.tolist()))

    @classmethod
    def from_line(cls, line: Mapping[str, Any]) -> Reference:
        """From an answer's line in a results file."""
        ids, logprobs = line["top"]
        return cls(tuple(line["ids"]), tuple(ids), tuple(logprobs))

    def to_line(self) -> dict[str, Any]:
        """As fields of an answer's line."""
        return {"ids": list(self.ids), "top": [list(self.top_ids), list(self.top_logprobs)]}


def fidelity(answer: Answer, reference: Reference | None) -> dict[str, Any]:
    """nll, kl, p and flops of an answer's line; those that are not known are left out."""
    found: dict[str, Any] = {"flops": answer.prefill_flops}
    if answer.draft_logprob is not None and math.isfinite(answer.draft_logprob):
        found["nll"] = _short(-answer.draft_logprob)
    if answer.first_logprobs is not None:
        found["p"] = round(float(answer.first_logprobs.max().exp()), 3)
        if reference is not None:
            found["kl"] = _short(kl_of_first_token(answer.first_logprobs, reference))
    return found


def kl_of_first_token(logprobs: torch.Tensor, reference: Reference) -> float:
    """KL(full ‖ pruned) of the first token in nats, ≥ 0, over the reference's top tokens and all others as one.

    logprobs: (V,), of the pruned run. Joining tokens can only make a KL divergence smaller.
    """
    full = np.exp(np.array(reference.top_logprobs, dtype=np.float64))
    pruned = logprobs[list(reference.top_ids)].double().exp().numpy()
    # What float32 cannot tell from nothing beside 1 counts as that much, so that no logarithm runs away.
    p = np.maximum(np.append(full, 1 - full.sum()), _RESOLUTION)
    q = np.maximum(np.append(pruned, 1 - pruned.sum()), _RESOLUTION)
    return max(0.0, float((p * np.log(p / q)).sum()))


def calibration_error(confidence: Array, right: Array) -> float:
    """Expected calibration error in percent: Σ (share of a bin) · |accuracy − mean confidence|, BINS equal bins.

    confidence: (questions,) 0..1. right: (questions,) scores 0..1.
    """
    place = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gap = np.bincount(place, weights=right - confidence, minlength=BINS)
    return 100 * float(np.abs(gap).sum()) / len(confidence)


def _short(value: float) -> float:
    return float(f"{value:.3g}")
