"""The causal map as an endpoint and in the background: the library's values, ended within a batch with its caller."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from helpers.app_context import QUESTION, question, scene_path, shared_address, shared_context
from helpers.full_queue import until
from helpers.http_caller import Caller

from adafv_core.engine.gate import StopSignal
from adafv_core.study.measure.causal_map import causal_map
from app.serving.causal_map import fill_causal_map, sentence_of
from app.serving.page_stream import page_stream
from app.serving.sessions import Run, Session
from app.wire.parse import TokenChoice

CHANGING = (10, "What is the location of the square?")


def scored(method: str = "adafv") -> Run:
    asked = question(CHANGING[1], method, index=CHANGING[0])
    return shared_context().service.score(Session("pocket"), asked)


def by_the_library(run: Run, keep_ratio: float, block: int = 1) -> Any:
    engine = shared_context().service.pool.engine("pocket")
    made = engine.select(run.scores, keep_ratio, run.method)
    *_, found = causal_map(engine, run.all_scores, [made], max_new_tokens=4, block=block)
    return found


def test_the_endpoint_streams_what_the_library_measures() -> None:
    client = Client(shared_address(), verbose=False)
    job = client.submit(handle_file(scene_path(CHANGING[0])), CHANGING[1], 0.1, "adafv", 4, api_name="/causal_map")
    states = list(job)
    counts = [len(state["removals"]) for state in states]
    assert len(states) > 2 and counts == sorted(counts) and counts[0] == 0
    last, found = states[-1], by_the_library(scored(), 0.1)
    assert last["complete"] and not last["stopped"] and "key" not in last
    assert [tuple(one["tokens"]) for one in last["removals"]] == [one.tokens for one in found.removals]
    assert [one["answer"] for one in last["removals"]] == [one.answer for one in found.removals]
    for name in ("kl_nats", "drop_nats"):
        expected = [getattr(one, name) for one in found.removals]
        assert [one[name] for one in last["removals"]] == pytest.approx(expected, abs=1e-4)
    assert last["kept"] == [[token for one in found.removals for token in one.tokens]]
    assert (last["answer"], last["n_visual"]) == (found.answer.text, 196)
    assert last["sentence"] == "3 of the 20 kept patches change the answer when left out alone."


def test_marks_and_blocks_count() -> None:
    run, service = scored(), shared_context().service
    *_, marked = fill_causal_map(service, run, TokenChoice(0.1, force_keep=(0, 1), force_drop=(52,)), StopSignal(), 2)
    assert {0, 1} < set(marked["kept"][0]) and 52 not in marked["kept"][0] and marked["block"] == 2
    assert [0, 1] in [list(one["tokens"]) for one in marked["removals"]]
    assert "blocks of 2 × 2 patches" in marked["sentence"]


@pytest.mark.parametrize(
    ("keep_ratio", "block", "text"),
    [
        (0.1, 1, "3 of the 20 kept patches change the answer when left out alone."),
        (0.02, 1, "None of the 4 kept patches changes the answer when left out alone."),
        (0.01, 1, "1 of the 2 kept patches changes the answer when left out alone."),
    ],
)
def test_the_sentence(keep_ratio: float, block: int, text: str) -> None:
    assert sentence_of(by_the_library(scored(), keep_ratio, block)) == text


def test_a_question_ends_it_and_is_answered_first() -> None:
    service, session = shared_context().service, Session("pocket")
    list(page_stream(service, session, question(CHANGING[1], index=CHANGING[0]), 1))
    run, stop, ended = session.run, session.removing.begin(1), threading.Event()
    assert run is not None

    def fill() -> None:
        assert list(fill_causal_map(service, run, TokenChoice(0.1), stop)) == []
        ended.set()

    with service.background.turn():
        thread = threading.Thread(target=fill)
        thread.start()
        *_, last = page_stream(service, session, question(QUESTION, choice=TokenChoice(0.2)), 2)
        assert '"state": "done"' in last.answers and not ended.is_set()
        session.removing.supersede(2)
        thread.join(10)
    assert ended.is_set()


def test_it_ends_within_a_batch_once_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, batches = shared_context().service.pool.engine("pocket"), []
    real = engine.answer_batch

    def slow(*arguments: Any, **options: Any) -> Any:
        batches.append(1)
        time.sleep(0.2)
        return real(*arguments, **options)

    monkeypatch.setattr(engine, "answer_batch", slow, raising=False)
    caller = Caller(shared_address())
    event_id = caller.post("causal_map", [caller.upload(scene_path()), QUESTION, 1.0, "adafv", 4])
    until(lambda: len(batches) > 2)
    caller.hang_up_on("causal_map", event_id)
    time.sleep(0.3)  # for the server to notice
    count = len(batches)
    time.sleep(0.8)
    assert len(batches) <= count + 1 < 50


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"block": 0}, "block, the side of the groups left out, must be a whole number from 1 to 64"),
        ({"block": "b"}, "whole number from 1 to 64"),
        ({"method": "fastv"}, "FastV prunes inside the LLM"),
        ({"method": "nope"}, "the methods are"),
        ({"keep_ratio": 7}, "at most 1"),
        ({"image": None}, "no image yet"),
        ({"force_keep": [196]}, "this image has 196 visual tokens"),
    ],
)
def test_wrong_values_get_a_sentence(change: dict[str, Any], text: str) -> None:
    values = {"image": handle_file(scene_path()), "prompt": QUESTION, **change}
    with pytest.raises(AppError, match=text) as raised:
        Client(shared_address(), verbose=False).predict(**values, api_name="/causal_map")
    assert "Traceback" not in str(raised.value)
