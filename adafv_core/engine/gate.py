"""One call at a time per model: the gate in front of it, and the signals that end a call early.

Pruning works by hooks on the modules of a model, so two calls must never run on one model at once. Every engine over a
model, and every `prune` block around it, shares the gate of that model object.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from adafv_core.errors import InputError, StoppedError

Stop = Callable[[], bool] | threading.Event | None
"""How a caller ends a call: a callable or an event that is checked after each token, or None for never."""

_POLL_S = 0.02


class StopSignal(threading.Event):
    """A `threading.Event` that also wakes a call waiting at a gate at once; any other event or callable is polled.

    after: it is set too once one of these is set.
    """

    def __init__(self, *after: StopSignal) -> None:
        super().__init__()
        self._wakes: list[Callable[[], None]] = []
        for other in after:
            other._wakes.append(self.set)
            if other.is_set():
                self.set()

    def set(self) -> None:
        """Request the stop."""
        super().set()
        for wake in tuple(self._wakes):
            wake()

    @contextmanager
    def waking(self, wake: Callable[[], None]) -> Iterator[None]:
        """Call `wake` whenever the signal is set within the block."""
        self._wakes.append(wake)
        try:
            yield
        finally:
            self._wakes.remove(wake)


def stop_signal(*stops: Stop) -> Callable[[], bool]:
    """One callable for several stops: true once any of them is. Raises InputError for anything that is not a stop."""
    checks: list[Callable[[], bool]] = []
    for stop in stops:
        if isinstance(stop, threading.Event):
            checks.append(stop.is_set)
        elif callable(stop):
            checks.append(stop)
        elif stop is not None:
            raise InputError(f"stop must be a callable, a threading.Event or None; got {type(stop).__name__}.")
    return lambda: any(check() for check in checks)


class Gate:
    """A lock that serves callers in the order they came and lets a waiting caller give up.

    The thread that holds it may enter again: an engine's call inside a `prune` block does.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._holder: int | None = None
        self._depth = 0

    @contextmanager
    def turn(self, *stops: Stop) -> Iterator[None]:
        """Wait for every earlier caller, then hold the gate within the block.

        Raises StoppedError if one of `stops` is set before the turn comes: at once for a `StopSignal`, within 20 ms
        for any other.
        """
        stopped = stop_signal(*stops)
        me = threading.get_ident()
        if self._holder != me:
            self._wait(me, stops, stopped)
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                with self._changed:
                    self._holder = None
                    self._changed.notify_all()

    def _wait(self, me: int, stops: tuple[Stop, ...], stopped: Callable[[], bool]) -> None:
        signals = [stop for stop in stops if isinstance(stop, StopSignal)]
        poll_s = None if len(signals) == sum(stop is not None for stop in stops) else _POLL_S
        ticket = object()
        with ExitStack() as stack:
            for signal in signals:
                stack.enter_context(signal.waking(self._wake))
            with self._changed:
                self._waiting.append(ticket)
                try:
                    while True:
                        if stopped():
                            raise StoppedError("The run was stopped before it began; ask again.")
                        if self._holder is None and self._waiting[0] is ticket:
                            self._holder = me
                            return
                        self._changed.wait(poll_s)
                finally:
                    self._waiting.remove(ticket)
                    self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


_GATES: WeakKeyDictionary[Any, Gate] = WeakKeyDictionary()
_REGISTERING = threading.Lock()


def gate_of(model: Any, gate: Gate | None = None) -> Gate:
    """The one gate of a model object, made on first use.

    gate: what to use as this model's gate, so that several models can take turns on one device. Raises InputError if
    the model already has another one.
    """
    with _REGISTERING:
        known = _GATES.setdefault(model, gate or Gate())
    if gate is not None and known is not gate:
        raise InputError("This model already has a gate of its own; leave `gate` out, or pass that one to the others.")
    return known
