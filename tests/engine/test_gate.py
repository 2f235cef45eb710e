"""The gate in front of a model: order, re-entry, giving up, sharing."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from adafv_core.engine.gate import Gate, Stop, StopSignal, gate_of, stop_signal
from adafv_core.engine.streaming import from_worker
from adafv_core.errors import InputError, StoppedError


class Model:
    """Anything that can be referred to weakly."""


def in_thread(call: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread


def enter(gate: Gate, entered: threading.Event) -> None:
    with gate.turn():
        entered.set()


def until(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_callers_are_served_in_the_order_they_came() -> None:
    gate, served = Gate(), []

    def wait(number: int) -> None:
        with gate.turn():
            served.append(number)

    with gate.turn():
        threads = []
        for number in range(8):
            threads.append(in_thread(lambda number=number: wait(number)))
            until(lambda number=number: len(gate._waiting) == number + 1)
    for thread in threads:
        thread.join(5)
    assert served == list(range(8))


def test_nobody_enters_beside_the_holder() -> None:
    gate, inside, most = Gate(), [0], [0]

    def work() -> None:
        for _ in range(50):
            with gate.turn():
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0)
                inside[0] -= 1

    threads = [in_thread(work) for _ in range(6)]
    for thread in threads:
        thread.join(20)
    assert most == [1] and inside == [0]


def test_the_holder_may_enter_again() -> None:
    gate, entered = Gate(), threading.Event()
    with gate.turn():
        with gate.turn():
            pass
        other = in_thread(lambda: enter(gate, entered))
        assert not entered.wait(0.05)
    other.join(5)
    assert entered.is_set()


def test_an_error_inside_frees_the_gate() -> None:
    gate = Gate()
    with pytest.raises(ZeroDivisionError), gate.turn():
        raise ZeroDivisionError
    entered = threading.Event()
    in_thread(lambda: enter(gate, entered)).join(5)
    assert entered.is_set()


@pytest.mark.parametrize("kind", ["signal", "event", "callable"])
def test_who_waits_can_give_up(kind: str) -> None:
    gate, event = Gate(), StopSignal() if kind == "signal" else threading.Event()
    stop: Stop = event.is_set if kind == "callable" else event
    with gate.turn():
        found: list[BaseException] = []

        def wait() -> None:
            try:
                with gate.turn(stop):
                    pass
            except BaseException as error:
                found.append(error)

        waiting = in_thread(wait)
        until(lambda: len(gate._waiting) == 1)
        event.set()
        waiting.join(5)
        assert [type(one) for one in found] == [StoppedError] and not gate._waiting
    with gate.turn():
        pass


def test_a_stop_signal_wakes_without_polling(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the polling interval at an hour, only the signal itself can end the wait."""
    monkeypatch.setattr("adafv_core.engine.gate._POLL_S", 3600.0)
    test_who_waits_can_give_up("signal")


def test_a_stop_that_was_set_before_never_begins() -> None:
    stop = StopSignal()
    stop.set()
    with pytest.raises(StoppedError, match="before it began"), Gate().turn(None, stop):
        pass


@pytest.mark.parametrize("stop", [3, "now", object()])
def test_a_stop_that_is_no_stop(stop: object) -> None:
    with pytest.raises(InputError, match=r"callable, a threading\.Event or None"):
        stop_signal(None, stop)  # type: ignore[arg-type]


def test_a_model_has_one_gate_as_long_as_it_lives() -> None:
    model, other, shared = Model(), Model(), Gate()
    assert gate_of(model) is gate_of(model) is not gate_of(other)
    third = Model()
    assert gate_of(third, shared) is shared and gate_of(Model(), shared) is shared and gate_of(third) is shared
    with pytest.raises(InputError, match="a gate of its own"):
        gate_of(model, shared)


def counting(emit: Callable[[int], None], steps: int, closed: StopSignal) -> None:
    for step in range(steps):
        if closed.is_set():
            return
        emit(step)
        time.sleep(0.002)


def test_a_worker_hands_over_what_it_emits() -> None:
    closed = StopSignal()
    assert list(from_worker(lambda emit: counting(emit, 20, closed), closed)) == list(range(20))


def test_an_iterator_that_is_never_iterated_starts_nothing() -> None:
    began: list[int] = []
    before = threading.active_count()
    from_worker(lambda emit: began.append(1), StopSignal())
    assert not began and threading.active_count() == before


@pytest.mark.parametrize("how", ["closed", "dropped"])
def test_closing_or_dropping_ends_and_joins_the_worker(how: str) -> None:
    closed = StopSignal()
    values: Iterator[int] = from_worker(lambda emit: counting(emit, 100_000, closed), closed)
    next(values)
    if how == "closed":
        values.close()  # type: ignore[attr-defined]
    else:
        del values
        gc.collect()
    assert closed.is_set()
    assert not [one for one in threading.enumerate() if one.name == "adafv-generate"]


def test_a_slow_reader_does_not_hold_up_the_worker() -> None:
    done, closed = threading.Event(), StopSignal()

    def work(emit: Callable[[int], None]) -> None:
        counting(emit, 20, closed)
        done.set()

    values = from_worker(work, closed)
    assert next(values) == 0 and done.wait(5)
    assert list(values) == list(range(1, 20))


def test_errors_of_the_worker_travel() -> None:
    def work(emit: Callable[[int], None]) -> None:
        emit(1)
        raise ValueError("broken")

    values = from_worker(work, StopSignal())
    assert next(values) == 1
    with pytest.raises(ValueError, match="broken"):
        next(values)
