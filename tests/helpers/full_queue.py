"""A page whose queue is full."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from gradio_client import Client, handle_file
from helpers.app_context import QUESTION, scene_path, shared_context, short_queue

FRIENDLY = re.compile(r"Busy: many questions are waiting\. Try again in [1-9][0-9]* s\.")


def until(true: Callable[[], bool]) -> None:
    """Wait for it."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@contextmanager
def full_queue() -> Any:
    """The model held, one request running and one waiting; yields both."""
    page, address = short_queue()
    client = Client(address, verbose=False)
    jobs: list[Future[Any]] = []
    with shared_context().service.pool.engine("pocket").gate.turn():
        for wanted in (lambda: any(page._queue.active_jobs), lambda: len(page._queue) == 1):
            jobs.append(client.submit(handle_file(scene_path()), QUESTION, 0.1, "adafv", api_name="/scores"))
            until(wanted)
        yield jobs
