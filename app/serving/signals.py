"""How a visitor's jobs are told to end: those that run, and those that wait."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Signals:
    """Of the jobs of one kind, of which a visitor has one at a time.

    stop: set to end the running one. asked, stopped: numbers, given by the page, of the newest job and of the newest
    one that is not to begin.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    asked: int = 0
    stopped: int = 0

    def order(self, number: int) -> None:
        """A job is on its way: end what runs, and what was asked before and has not begun."""
        self.asked = max(self.asked, number)
        self.stop.set()

    def halt(self, number: int) -> None:
        """End what runs, and every job up to this number, wherever it waits."""
        self.stopped = max(self.stopped, number)
        self.stop.set()

    def begin(self, number: int = 0) -> threading.Event:
        """End what runs, and hand out the stop signal of what begins; set already where the job with this number was
        stopped, or followed by another, before it began. 0: it has none."""
        self.stop.set()
        self.stop = threading.Event()
        if 0 < number <= self.stopped or 0 < number < self.asked:
            self.stop.set()
        return self.stop
