"""How long answers take, measured in turns: single runs of different moments say little about each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import median

from adafv_core.engine.gate import StopSignal
from adafv_core.engine.request import Request
from app.serving.ask import Service
from app.serving.sessions import Run
from app.wire.parse import TokenChoice

REPEATS = 5


@dataclass(frozen=True)
class Spread:
    """Seconds: the median of `REPEATS` runs, the shortest and the longest."""

    median_s: float
    low_s: float
    high_s: float


@dataclass(frozen=True)
class AnswerTimes:
    """Time to first token and prefill of an answer, with scoring and selecting, without the image encoder."""

    n_kept: int
    ttft: Spread
    prefill: Spread


def measure_times(service: Service, run: Run, choice: TokenChoice, stop: StopSignal) -> dict[str, AnswerTimes]:
    """`times_in_turns` of `pruned`, at this choice, and `full`."""
    full = Request("full", keep_ratio=1.0, max_new_tokens=1)
    return times_in_turns(service, {"pruned": (run, service.request_at(run, choice, 1)), "full": (run, full)}, stop)


def times_in_turns(
    service: Service, asked: Mapping[str, tuple[Run, Request]], stop: StopSignal
) -> dict[str, AnswerTimes]:
    """The times of each request about its run: `REPEATS` answers of one token each, one after the other, in the
    background. Raises StoppedError, InputError of some kind, or OutOfMemoryError.
    """
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in asked}
    kept = {}
    for _ in range(REPEATS):
        for name, (run, request) in asked.items():
            images = [replace(one, encode_s=0.0) for one in run.all_scores]
            with service.background.turn(stop):
                answer = service.pool.engine(run.model).answer(images, None, request, stop=stop)
            runs[name].append((answer.ttft_s, answer.prefill_s))
            kept[name] = answer.n_kept
    return {
        name: AnswerTimes(kept[name], *(_spread(values) for values in zip(*pairs, strict=True)))
        for name, pairs in runs.items()
    }


def _spread(values: tuple[float, ...]) -> Spread:
    return Spread(median(values), min(values), max(values))
