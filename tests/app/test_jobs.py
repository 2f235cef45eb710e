"""One model, one job at a time, and no visitor can hold the model by leaving."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator

import pytest

from app.serving.jobs import Bench, Stopped


def job(bench: Bench, seen: list[int], steps: int, stop: threading.Event) -> Iterator[int]:
    for step in range(steps):
        seen.append(bench.running)
        if stop.is_set():
            return
        time.sleep(0.002)
        yield step


def test_jobs_never_overlap() -> None:
    bench, seen = Bench(), []
    results: list[list[int]] = []

    def visitor() -> None:
        stop = threading.Event()
        results.append(list(bench.run(lambda: job(bench, seen, 5, stop), stop)))

    threads = [threading.Thread(target=visitor) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[0, 1, 2, 3, 4]] * 8
    assert set(seen) == {1} and bench.most_running == 1 and bench.running == 0


def test_a_dropped_stream_frees_the_model() -> None:
    bench, stop = Bench(), threading.Event()
    stream = bench.run(lambda: job(bench, [], 100_000, stop), stop)
    next(stream)
    del stream
    gc.collect()
    assert stop.wait(2)
    with bench.turn():
        assert bench.running == 1


def test_a_suspended_stream_does_not_hold_the_model() -> None:
    bench, stop = Bench(), threading.Event()
    stream = bench.run(lambda: job(bench, [], 20, stop), stop)
    next(stream)
    with bench.turn():
        pass
    assert list(stream) == list(range(1, 20))


def test_who_waits_can_be_stopped() -> None:
    bench, stop = Bench(), threading.Event()
    with bench.turn():
        threading.Timer(0.1, stop.set).start()
        with pytest.raises(Stopped), bench.turn(stop):
            pass
    assert bench.running == 0


def test_errors_of_the_job_arrive_and_free_the_model() -> None:
    bench, stop = Bench(), threading.Event()

    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    stream = bench.run(failing, stop)
    assert next(stream) == 1
    with pytest.raises(ValueError, match="broken"):
        next(stream)
    with bench.turn():
        pass
