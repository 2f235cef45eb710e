"""Visitors take turns in the queue, and each has a bounded number of waiting calls."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from gradio_client import Client, handle_file
from helpers.app_context import QUESTION, free_port, scene_path, serve, shared_context
from helpers.full_queue import until
from helpers.http_caller import Caller, Refused

from app.gradio_ext.queueing import in_turns, visitor_of

MOST_WAITING = 3


@cache
def small_page() -> tuple[gr.Blocks, str]:
    """A page where three calls of one visitor may wait."""
    settings = replace(shared_context().settings, visitor_queue_size=MOST_WAITING, port=free_port())
    return serve(replace(shared_context(), settings=settings))


def caller(visitor: str) -> Caller:
    return Caller(small_page()[1], {"X-Forwarded-For": visitor})


def call(name: str, visitor: str, session: str) -> Any:
    return SimpleNamespace(name=name, session_hash=session, request=request_from(visitor))


def request_from(host: str) -> Any:
    return SimpleNamespace(client=SimpleNamespace(host=host, port=1))


def names(calls: list[Any]) -> str:
    return " ".join(one.name for one in calls)


def test_visitors_and_then_their_sessions_take_turns() -> None:
    flood = [call(f"a{n}", "192.0.2.1", f"s{n % 2}") for n in range(4)]
    others = [call("b", "192.0.2.2", "t"), call("c", "192.0.2.3", "u")]
    assert names(in_turns([*flood, *others])) == "a0 b c a1 a2 a3"
    one_session = [call("x0", "192.0.2.1", "s"), call("x1", "192.0.2.1", "s"), call("y", "192.0.2.1", "t")]
    assert names(in_turns(one_session)) == "x0 y x1"
    assert names(in_turns([flood[1], *others], [flood[0]])) == "b c a1"


def test_a_visitor_is_an_address_or_a_network_of_ipv6() -> None:
    assert (
        visitor_of(request_from("192.0.2.7")) == "192.0.2.7" and visitor_of(request_from("testclient")) == "testclient"
    )
    assert visitor_of(request_from("2001:db8::1")) == visitor_of(request_from("2001:db8::ffff")) == "2001:db8::/64"
    assert visitor_of(request_from("2001:db8:0:1::1")) != visitor_of(request_from("2001:db8::1"))


@pytest.mark.local
def test_a_flood_from_one_address_is_refused_and_others_are_served_first() -> None:
    page, _ = small_page()
    picture = caller("192.0.2.1").upload(scene_path())
    finished: list[str] = []

    def ask(visitor: str, session: str) -> None:
        caller(visitor).ask("scores", [picture, QUESTION, 0.1, "adafv"], session)
        finished.append(visitor)

    with ThreadPoolExecutor(8) as pool:
        with shared_context().service.pool.engine("pocket").gate.turn():
            jobs = [pool.submit(ask, "192.0.2.1", "first")]
            until(lambda: any(page._queue.active_jobs))
            for number in range(MOST_WAITING):
                jobs.append(pool.submit(ask, "192.0.2.1", f"flood {number}"))
                until(lambda wanted=number + 1: len(page._queue) == wanted)
            with pytest.raises(Refused) as refused:
                ask("192.0.2.1", "one more")
            jobs.append(pool.submit(ask, "192.0.2.2", "other"))
            until(lambda: len(page._queue) == MOST_WAITING + 1)
        for job in jobs:
            job.result(timeout=60)
    assert refused.value.status == 503
    own = r"Busy: 3 of your own questions are waiting already\. Try again in [1-9][0-9]* s\."
    assert re.fullmatch(own, json.loads(refused.value.body)["detail"]) and refused.value.headers["retry-after"]
    assert finished.index("192.0.2.2") <= 2 and len(finished) == MOST_WAITING + 2


def test_nobody_waits_longer_than_a_batch_for_a_study_or_sweep_of_another() -> None:
    with ThreadPoolExecutor(2) as pool:
        address = small_page()[1]
        studying = Client(address, verbose=False, headers={"X-Forwarded-For": "192.0.2.11"})
        sweeping = Client(address, verbose=False, headers={"X-Forwarded-For": "192.0.2.12"})
        long_study = studying.submit(["saliency", "adafv"], [0.1, 0.2, 0.3], 300, api_name="/study")
        ratios = [index / 100 for index in range(1, 60)]
        long_sweep = sweeping.submit(handle_file(scene_path()), QUESTION, ["adafv"], ratios, api_name="/sweep")
        until(lambda: sum(job is not None for job in small_page()[0]._queue.active_jobs) == 2)
        other = caller("192.0.2.13")
        picture = other.upload(scene_path())
        began = time.monotonic()
        swept = pool.submit(other.ask, "sweep", [picture, QUESTION, ["t2i"], [0.1]], "sweep")
        studied = pool.submit(other.ask, "study", [["t2i"], [0.1], 1], "study")
        assert swept.result(timeout=60)["complete"] and studied.result(timeout=60)["answers"]
        assert not long_study.done() or not long_sweep.done(), "the others ended first: the test shows nothing"
        assert time.monotonic() - began < 60
        studying.predict(api_name="/stop")
        sweeping.predict(api_name="/stop")
        long_study.result(timeout=60), long_sweep.result(timeout=60)
