"""One line of a sweep, as tables, files and charts use it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SweepRow:
    """One answer of a sweep. kl_nats: KL(full ‖ pruned) of the first new token. error: why there is none."""

    method: str
    keep_ratio: float
    n_visual: int
    n_kept: int
    answer: str
    same: bool | None
    kl_nats: float | None
    ttft_s: float
    prefill_flops: int
    kv_cache_bytes: int
    error: str = ""
