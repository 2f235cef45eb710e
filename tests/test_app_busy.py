"""A full queue: one friendly sentence, and nothing lost of what was accepted."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest
from app_site import QUESTION, scene_path, shared_site, short_queue
from gradio_client import Client, handle_file

from app.busy import busy_text

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
    with shared_site().desk.bench.turn():
        for wanted in (lambda: any(page._queue.active_jobs), lambda: len(page._queue) == 1):
            jobs.append(client.submit(handle_file(scene_path()), QUESTION, 0.1, "adafv", api_name="/scores"))
            until(wanted)
        yield jobs


def test_a_full_queue_says_when_to_come_back_and_loses_nothing() -> None:
    with full_queue() as jobs:
        request = urllib.request.Request(
            f"{short_queue()[1]}/gradio_api/call/scores", json.dumps({"data": [None, "", 0.1, "adafv"]}).encode(),
            {"Content-Type": "application/json"},
        )  # fmt: skip
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=30)
    assert refused.value.code == 503
    assert FRIENDLY.fullmatch(json.load(refused.value)["detail"])
    results = [job.result(timeout=120) for job in jobs]
    assert results[0] == results[1] and results[0]["n_kept"] == 20


def test_the_sentence_rounds_up() -> None:
    assert busy_text(0.2).endswith("in 1 s.") and busy_text(7.1).endswith("in 8 s.")
