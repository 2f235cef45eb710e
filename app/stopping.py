"""How the program ends on SIGTERM and SIGINT: with one sentence while it starts, and after a drain once it serves.

It needs neither an init nor a shell: as process 1 of a container a program ignores SIGTERM unless it handles it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGTERM, signal.SIGINT)
DRAIN_S = 4.0
"""Running answers may finish for this long; then they end with a sentence."""
EXIT_WITHIN_S = 9.0
"""After this the program ends whatever still holds it."""


def end_at_once_on_signals() -> None:
    """Until the page is open, SIGTERM and SIGINT end the program."""

    def end(number: int, frame: FrameType | None) -> None:
        print("Stopped before the page was open.", file=sys.stderr, flush=True)
        sys.exit(0)

    _handle(end)


def stop_on_signals() -> threading.Event:
    """From now on SIGTERM and SIGINT set the event that is returned; a second one ends the program at once.

    Call it last: libraries such as Ray put handlers of their own in place.
    """
    stop = threading.Event()

    def begin(number: int, frame: FrameType | None) -> None:
        for one in SIGNALS:
            signal.signal(one, signal.SIG_DFL)
        stop.set()

    _handle(begin)
    return stop


def wait_and_drain(stop: threading.Event, drain: Callable[[float], None], close: Callable[[], None]) -> NoReturn:
    """Wait for the event, then let running answers finish, close the server and end the program.

    drain: takes the seconds it may wait. close: ends the server.
    """
    while not stop.wait(0.5):
        pass
    latest = threading.Timer(EXIT_WITHIN_S, os._exit, (0,))
    latest.daemon = True
    latest.start()
    print("Stopping: running answers may finish, no new ones begin.", file=sys.stderr, flush=True)
    drain(DRAIN_S)
    close()
    sys.stdout.flush()
    os._exit(0)  # without the handlers of other libraries: Ray's take longer than a container waits


def _handle(handler: Callable[[int, FrameType | None], None]) -> None:
    if threading.current_thread() is threading.main_thread():
        for one in SIGNALS:
            signal.signal(one, handler)
