"""One clock for everything that is measured: it waits for the device before it reads the time."""

from __future__ import annotations

import time

import torch


def now_s(device: torch.device | str) -> float:
    """Seconds of a steady clock, read after all work queued on `device` is done."""
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.synchronize(device)
    elif kind == "mps":
        torch.mps.synchronize()
    return time.perf_counter()
