"""A sweep row by row: complete, stopped half-way, with a failing cell, and as files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from helpers.app_context import question, shared_context

from adafv_core.errors import InputError
from app.serving.page_stream import page_stream
from app.serving.sessions import Session
from app.sweep.rows import SweepRow
from app.sweep.run import Sweep, progress_text, read_sweep, run_sweep, sweep_csv, sweep_json


def test_every_method_at_every_ratio_beside_full() -> None:
    cells = read_sweep(["adafv", "saliency", "adafv", "full"], [0.1, 1.0, 0.1])
    assert cells == [("adafv", 1.0), ("adafv", 0.1), ("saliency", 1.0), ("saliency", 0.1)]
    states = list(run_sweep(shared_context().service, Session("pocket"), question(), cells))
    rows = states[-1].rows
    assert [(row.method, row.n_kept) for row in rows] == [
        ("full", 196),
        ("adafv", 196),
        ("adafv", 20),
        ("saliency", 196),
        ("saliency", 20),
    ]
    assert rows[1].same is True and abs(rows[1].kl_nats or 0.0) < 1e-5
    assert [len(state.rows) for state in states[:-1]] == [0, 1, 2, 3, 4, 5]
    assert states[0].left_s is None and all(state.left_s is not None for state in states[1:])
    assert json.loads(progress_text(states[-1])) == {"share": 1.0, "text": "All 5 answers are in."}


@pytest.mark.parametrize(
    "end",
    [
        lambda session: session.sweeping.stop_through(0),
        lambda session: session.end(),
        lambda session: session.change_model("another"),
    ],
    ids=["stop", "end", "another model"],
)
def test_stop_keeps_what_is_done(end: Callable[[Session], None]) -> None:
    session, cells = Session("pocket"), read_sweep(["random", "t2i"], [0.5, 0.25, 0.1])
    states = []
    for state in run_sweep(shared_context().service, session, question(), cells):
        states.append(state)
        if len(state.rows) == 3:
            end(session)
    assert len(states[-1].rows) == 3 and states[-1].stopped and states[-1].model == "pocket"
    assert "Stopped after 3 of 7" in progress_text(states[-1])


def test_a_question_asked_meanwhile_leaves_a_sweep_alone() -> None:
    session, service = Session("pocket"), shared_context().service
    states = []
    for state in run_sweep(service, session, question(), read_sweep(["random"], [0.5, 0.1])):
        states.append(state)
        if len(state.rows) == 1:
            assert list(page_stream(service, session, question(), 7))
    assert len(states[-1].rows) == 3 and not states[-1].stopped


def test_a_failing_cell_leaves_the_others() -> None:
    cells = [("adav_authors", 0.001), ("t2i", 0.1)]
    rows = list(run_sweep(shared_context().service, Session("pocket"), question(), cells))[-1].rows
    assert [bool(row.error) for row in rows] == [False, True, False]
    assert "ask for at least 2 tokens" in rows[1].error and rows[2].n_kept == 20


def test_wrong_grids() -> None:
    for methods, ratios in (([], [0.1]), ("adafv", [0.1]), (["nope"], [0.1]), (["adafv"], [7]), (["adafv"], None)):
        with pytest.raises(InputError):
            read_sweep(methods, ratios)
    with pytest.raises(InputError, match="at most 200"):
        read_sweep(["adafv", "t2i", "random"], [index / 100 for index in range(1, 100)])


def test_files_hold_the_rows_and_no_formula_runs() -> None:
    row = SweepRow("adafv", 0.1, 196, 20, "=HYPERLINK(1)", None, None, 0.1, 5, 6)
    sweep = Sweep("prompt", "pocket", (row, replace(row, answer="red", kl_nats=0.25, same=True)), 2, 0.0)
    lines = list(csv.DictReader(io.StringIO(sweep_csv(sweep))))
    assert lines[0]["answer"] == "'=HYPERLINK(1)" and lines[0]["kl_nats"] == ""
    assert lines[1]["answer"] == "red" and float(lines[1]["kl_nats"]) == 0.25
    assert json.loads(sweep_json(sweep))["rows"][1]["same"] is True


def test_the_csv_holds_the_same_rows_as_the_json() -> None:
    row = SweepRow("adafv", 0.1, 196, 20, 'red, "dark"\nred', True, 0.1 + 0.2, 1e-7, 5, 6)
    rows = (row, replace(row, answer="", same=None, kl_nats=None, error="=Failed"), replace(row, answer="-1"))
    sweep = Sweep("prompt", "pocket", rows, 3, 0.0)
    lines = list(csv.DictReader(io.StringIO(sweep_csv(sweep), newline="")))
    written = json.loads(sweep_json(sweep))["rows"]
    assert [line["error"] for line in lines] == ["", "'=Failed", ""]
    for line, one in zip(lines, written, strict=True):
        assert list(line) == list(one)
        for name, value in one.items():
            text = "" if value is None else str(value)
            assert line[name] == (f"'{text}" if text and text[0] in "=-" else text), name
