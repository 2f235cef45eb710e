"""Measures a model's time to first token, time per token and peak memory.

A request has two phases. The prefill runs the whole prompt, visual tokens included, through the LLM at once and ends
with the first new token; pruning shortens it. Decoding then produces one token at a time and reads the KV cache, which
pruning makes smaller. Both are measured separately, after warm-up runs, with the device synchronized before each
clock reading.
"""

from __future__ import annotations

import resource
import statistics
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from adafv_core.errors import InputError
from adafv_core.types import Answer

if TYPE_CHECKING:
    from adafv_core.engine.backend import Backend


@dataclass(frozen=True)
class Timing:
    """Medians over `repeats` runs of one request, in seconds, and peak memory in bytes.

    encode_s: vision encoder and projector, for a new image. select_s: scoring and selecting. prefill_s: the LLM's
    prefill. ttft_s: from the call to the first new token, encoding included. per_token_s: decoding, 0 if there was
    only one token. peak_bytes: peak device memory on CUDA, otherwise the peak resident size of the process so far.
    """

    encode_s: float
    select_s: float
    prefill_s: float
    ttft_s: float
    per_token_s: float
    peak_bytes: int
    repeats: int
    n_kept: int
    n_visual: int
    device: str


def measure(
    engine: Backend,
    image: object,
    prompt: str,
    *,
    warmup: int = 1,
    repeats: int = 3,
    max_new_tokens: int = 16,
    **options: Any,
) -> Timing:
    """Ask the same question `warmup` + `repeats` times, encoding the image every time, and return medians.

    options: as in `Engine.answer` (keep_ratio, method, …). Raises InputError for repeats below 1 or a negative
    warmup.
    """
    if repeats < 1 or warmup < 0:
        raise InputError(f"Expected repeats of at least 1 and warmup of at least 0; got {repeats} and {warmup}.")
    for _ in range(warmup):
        _fresh(engine, image, prompt, max_new_tokens, options)
    _reset_peak(engine.device)
    runs = [_fresh(engine, image, prompt, max_new_tokens, options) for _ in range(repeats)]
    decoded = [run.decode_s / (len(run.token_ids) - 1) for run in runs if len(run.token_ids) > 1]
    return Timing(
        encode_s=statistics.median(run.encode_s for run in runs),
        select_s=statistics.median(run.select_s for run in runs),
        prefill_s=statistics.median(run.prefill_s for run in runs),
        ttft_s=statistics.median(run.ttft_s for run in runs),
        per_token_s=statistics.median(decoded) if decoded else 0.0,
        peak_bytes=peak_bytes(engine.device),
        repeats=repeats,
        n_kept=runs[-1].n_kept,
        n_visual=runs[-1].n_visual,
        device=str(engine.device),
    )


def _fresh(engine: Backend, image: object, prompt: str, max_new_tokens: int, options: dict[str, Any]) -> Answer:
    engine.clear_cache()
    return engine.answer(image, prompt, max_new_tokens=max_new_tokens, **options)


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: torch.device) -> int:
    """Peak memory in bytes: of a CUDA device since the last reset, otherwise of this process since it started."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
