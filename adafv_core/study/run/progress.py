"""A progress bar in the terminal: how far, how long still, and what is being done."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from adafv_core.study.run.runner import Progress

_WIDTH = 30


class Bar:
    """Redraws one line on a terminal; elsewhere writes a line now and then."""

    def __init__(self, out: TextIO | None = None, every_s: float = 30.0) -> None:
        self.out = out or sys.stderr
        self.live = self.out.isatty()
        self.every_s = 0.2 if self.live else every_s
        self._shown_s = -float("inf")

    def show(self, progress: Progress) -> None:
        """Show how far it is, unless it was shown a moment ago."""
        now = time.monotonic()
        if now - self._shown_s < self.every_s and progress.done < progress.total:
            return
        self._shown_s = now
        line = bar_line(progress)
        self.out.write(f"\r{line:<100}" if self.live else line + "\n")
        self.out.flush()

    def close(self) -> None:
        """End the line."""
        if self.live:
            self.out.write("\n")
            self.out.flush()


def bar_line(progress: Progress) -> str:
    """One line: bar, percent, count, time left, what is being done."""
    share = progress.done / progress.total if progress.total else 1.0
    filled = round(_WIDTH * share)
    left = "" if progress.seconds_left is None else f", {duration(progress.seconds_left)} left"
    bar = "#" * filled + "." * (_WIDTH - filled)
    return f"[{bar}] {share:4.0%} {progress.done:,} of {progress.total:,} answers{left} · {progress.doing}"


def duration(seconds: float) -> str:
    """1:05 for 65 seconds, 2:00:01 for 7201."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
