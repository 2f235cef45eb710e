"""A model that is being downloaded and loaded, and the progress that the page shows meanwhile."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future, wait
from typing import Any

from adafv_core.engine.backend import Backend
from adafv_core.engine.gate import StopSignal
from adafv_core.errors import StoppedError
from adafv_core.loading.download import DownloadProgress
from adafv_core.study.report.tables import duration

_RECENT_S = 20.0
_LEAST_S = 2.0
_POLL_S = 0.25


class ModelLoad:
    """One load in progress: the loading thread writes, everyone who waits for the model reads.

    A download that nobody waits for any more ends; its complete files are kept.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._waits: list[StopSignal] = []
        self._outcome: Future[Backend] = Future()
        self._since = time.monotonic()
        self._recent: deque[tuple[float, DownloadProgress]] = deque()

    def report(self, progress: DownloadProgress) -> None:
        """Record the progress of the download. Raises StoppedError if nobody waits for the model any more."""
        self.check()
        now = time.monotonic()
        recent = deque(mark for mark in self._recent if mark[0] >= now - _RECENT_S)
        recent.append((now, progress))
        self._recent = recent
        self._since = now if progress.done_bytes == progress.total_bytes else self._since

    def wait_until(self, client_gone: StopSignal) -> None:
        """One more waits for the model, until this is set."""
        self._waits.append(client_gone)

    def check(self) -> None:
        """Raise StoppedError if nobody waits for the model any more."""
        if self._waits and all(gone.is_set() for gone in self._waits):
            raise StoppedError(f"Nobody waits for {self.name} any more: load it again.")

    def finish(self, engine: Backend) -> None:
        """The model is loaded."""
        self._outcome.set_result(engine)

    def fail(self, error: BaseException) -> None:
        """Loading failed with this error."""
        self._outcome.set_exception(error)

    def ended(self, within_s: float) -> bool:
        """Wait at most this long; returns whether the load has ended."""
        return bool(wait([self._outcome], within_s).done)

    def engine(self) -> Backend:
        """Wait for the model. Raises what loading it raised."""
        return self._outcome.result()

    def engine_for(self, client_gone: StopSignal) -> Backend:
        """`engine`, for a client that may go away meanwhile. Raises StoppedError then."""
        while not self.ended(_POLL_S):
            if client_gone.is_set():
                raise StoppedError(f"Nobody waits for {self.name} any more: load it again.")
        return self.engine()

    def view(self) -> dict[str, Any]:
        """A line of text, and the share (0–1) that is done, None if unknown."""
        recent = self._recent
        seconds = time.monotonic() - self._since
        if not recent:
            return {"share": None, "text": f"Loading {self.name}: {seconds:.0f} s"}
        progress = recent[-1][1]
        if progress.done_bytes == progress.total_bytes:
            return {"share": 1.0, "text": f"Loading {self.name}: {seconds:.0f} s"}
        left_s = seconds_left(recent)
        left = f" · {duration(left_s)} left" if left_s is not None else ""
        share = progress.done_bytes / progress.total_bytes
        return {"share": share, "text": f"Downloading {self.name}: {progress}{left}"}


def seconds_left(recent: deque[tuple[float, DownloadProgress]]) -> float | None:
    """Estimated seconds left at the speed between the first and last of `recent` (seconds, progress); None at first."""
    (first_s, first), (last_s, last) = recent[0], recent[-1]
    received = last.done_bytes - first.done_bytes
    if last_s - first_s < _LEAST_S or received <= 0:
        return None
    return (last.total_bytes - last.done_bytes) * (last_s - first_s) / received
