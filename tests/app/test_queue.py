"""A full queue: one friendly sentence, and nothing lost of what was accepted."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest
from helpers.app_context import short_queue
from helpers.full_queue import FRIENDLY, full_queue

from app.gradio_ext.queueing import busy_text


@pytest.mark.local
def test_a_full_queue_says_when_to_come_back_and_loses_nothing() -> None:
    with full_queue() as jobs:
        request = urllib.request.Request(
            f"{short_queue()[1]}/gradio_api/call/scores",
            json.dumps({"data": [None, "", 0.1, "adafv"]}).encode(),
            {"Content-Type": "application/json"},
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=30)
    assert refused.value.code == 503
    assert FRIENDLY.fullmatch(json.load(refused.value)["detail"])
    results = [job.result(timeout=120) for job in jobs]
    assert results[0] == results[1] and results[0]["n_kept"] == 20


def test_the_sentence_rounds_up() -> None:
    assert busy_text(0.2).endswith("in 1 s.") and busy_text(7.1).endswith("in 8 s.")
