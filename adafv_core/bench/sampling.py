"""Timing several variants in turn, and what the machine could do at best.

Variants alternate, A B C A B C …, in reversed order every other round, and each ratio is taken within a round: what
else the machine does at that moment hits both sides of it.
"""

from __future__ import annotations

import ctypes
import gc
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from adafv_core.engine.streaming import now_s

Seconds = dict[str, float]
"""What one run of a variant took: seconds by name of the phase."""


@dataclass(frozen=True)
class Spread:
    """The median of several runs with the lowest and the highest."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """From at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    def inverse(self) -> Spread:
        """The spread of 1 / value, for values above 0."""
        return Spread(1 / self.median, 1 / self.highest, 1 / self.lowest)


def alternate(variants: Mapping[str, Callable[[], Seconds]], runs: int, warmup: int = 1) -> dict[str, list[Seconds]]:
    """Run every variant `warmup` + `runs` times in turn; the seconds of the `runs` by variant, in order of rounds."""
    found: dict[str, list[Seconds]] = {name: [] for name in variants}
    for number in range(warmup + runs):
        for name in reversed(list(variants)) if number % 2 else variants:
            seconds = variants[name]()
            if number >= warmup:
                found[name].append(seconds)
    return found


def ratio(runs: Sequence[Seconds], baseline: Sequence[Seconds], phase: str) -> Spread:
    """One phase over the same phase of the baseline, round by round."""
    return Spread.of([one[phase] / max(other[phase], 1e-9) for one, other in zip(runs, baseline, strict=True)])


@dataclass(frozen=True)
class Machine:
    """What runs the benchmark. matmul_flops_per_s, read_bytes_per_s: the highest rates measured here, of a square
    product and of a matrix times a vector. load: the system's load average, where it has one.
    """

    device: str
    name: str
    torch: str
    dtype: str
    threads: int
    matmul_flops_per_s: float
    read_bytes_per_s: float
    load: float | None

    def floor_s(self, flops: float, read_bytes: float) -> float:
        """The least seconds in which so many FLOPs and so many bytes of reading can be done."""
        return max(flops / self.matmul_flops_per_s, read_bytes / self.read_bytes_per_s)


@torch.no_grad()
def measure_machine(device: torch.device, dtype: torch.dtype, runs: int = 5) -> Machine:
    """Measure the ceilings of a device in one dtype: a few seconds on a CPU."""
    side, rows = (8192, 16384) if device.type == "cuda" else (1024, 4096)
    square = torch.randn(side, side, device=device, dtype=dtype)
    tall, vector = (torch.randn(*shape, device=device, dtype=dtype) for shape in ((rows, 8192), (8192,)))
    product = min(_timed(lambda: square @ square, device) for _ in range(runs + 1))
    reading = min(_timed(lambda: tall @ vector, device) for _ in range(runs + 1))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor_name()
    return Machine(
        str(device),
        name,
        torch.__version__,
        str(dtype).removeprefix("torch."),
        torch.get_num_threads(),
        2 * side**3 / product,
        tall.nbytes / reading,
        load_average(),
    )


def load_average() -> float | None:
    """The load of the last minute, where the system tells."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def peak_bytes(work: Callable[[], object], device: torch.device) -> int | None:
    """Bytes that `work` needs at most beyond what is held before it: of the device on CUDA, else of this process, where
    Linux lets a process reset its peak; None elsewhere.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device) - before)
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # memory that earlier runs freed would hide what this one takes
    try:
        Path("/proc/self/clear_refs").write_text("5", "ascii")
        before = _status_bytes("VmRSS")
        work()
        return max(0, _status_bytes("VmHWM") - before)
    except (OSError, StopIteration):
        return None


def _status_bytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def _timed(work: Callable[[], object], device: torch.device) -> float:
    began_s = now_s(device)
    work()
    return now_s(device) - began_s


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return "CPU"
