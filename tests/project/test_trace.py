"""The way of a call through the project stays short: counts may grow by a fifth, then the way has to be looked at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from project.trace_calls import CALLS, Trace

STORED = json.loads((Path(__file__).parent / "trace_counts.json").read_text(encoding="utf-8"))
ROOM = 1.2


def test_moves_and_returns_are_counted() -> None:
    trace = Trace([("a", "f"), ("b", "g"), ("a", "h"), ("c", "i"), ("b", "j"), ("b", "k")])
    assert trace.counts == {"files": 3, "functions": 6, "moves": 4, "returns": 2}


@pytest.mark.parametrize("name", CALLS)
def test_the_way_of_a_call_does_not_grow(name: str) -> None:
    counts = CALLS[name]().counts
    grown = {what: (STORED[name][what], count) for what, count in counts.items() if count > ROOM * STORED[name][what]}
    assert not grown, f"{name}: {grown} (stored, now); shorten the way, or store the new counts with a reason"
    assert counts["functions"] > 20, "the tracer saw next to nothing"
