"""One row of a sweep, as tables, files and charts use it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SweepRow:
    """One answer of a sweep.

    kl_nats: KL(full ‖ pruned) of the first new token; None if unknown. error: why there is no answer, else empty.
    """

    method: str
    keep_ratio: float
    n_visual: int = 0
    n_kept: int = 0
    answer: str = ""
    same: bool | None = None
    kl_nats: float | None = None
    ttft_s: float = 0.0
    prefill_flops: int = 0
    kv_cache_bytes: int = 0
    error: str = ""
