"""One job at a time on a model: engines and `prune` blocks over the same model share one gate."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from torch import nn


class Gate:
    """A lock that any thread may release, and that knows which thread acquired it.

    A job that hands out results as they come (a stream) may end in another thread than it began in, so this is no
    `threading.RLock`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder: int | None = None

    def acquire(self, timeout: float = -1) -> bool:
        """Wait for the job before, at most `timeout` seconds (-1: without limit). Returns whether the gate is held."""
        if not self._lock.acquire(timeout=timeout):
            return False
        self._holder = threading.get_ident()
        return True

    def release(self) -> None:
        """Let the next job in."""
        self._holder = None
        self._lock.release()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Hold the gate for a block; a thread that holds it already walks through (a call from within its own job)."""
        if self._holder == threading.get_ident():
            yield
            return
        self.acquire()
        try:
            yield
        finally:
            self.release()


_GATES: WeakKeyDictionary[nn.Module, Gate] = WeakKeyDictionary()
_GATES_LOCK = threading.Lock()


def gate_of(model: nn.Module) -> Gate:
    """The one gate of a model; it lives as long as the model does."""
    with _GATES_LOCK:
        return _GATES.setdefault(model, Gate())
