"""Whatever nobody waits for any more ends within one batch, and what one request may take is bounded."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache
from typing import Any, cast

import gradio as gr
import pytest
from helpers.app_context import QUESTION, free_port, scene_path, serve, shared_context
from helpers.full_queue import until
from helpers.http_caller import Caller, Failed
from helpers.slow_engine import TOKENS, slow_address, slow_engine

from adafv_core.engine.gate import StopSignal
from adafv_core.errors import StoppedError
from adafv_core.loading.download import DownloadProgress, Report
from app.gradio_ext import queueing
from app.serving.models import ModelPool

ENDS_WITHIN_S = 10.0
RATIOS = [index / 200 for index in range(1, 181)]


@cache
def page() -> tuple[gr.Blocks, str]:
    return serve(replace(shared_context(), settings=replace(shared_context().settings, port=free_port())))


def caller() -> Caller:
    return Caller(page()[1])


def running() -> int:
    return sum(job is not None for job in page()[0]._queue.active_jobs)


def data_of(endpoint: str) -> list[Any]:
    if endpoint == "study":
        return [["saliency", "adafv", "t2i"], [0.1, 0.2, 0.3, 0.4], 300]
    picture = caller().upload(scene_path())
    return [picture, QUESTION, ["adafv"], RATIOS] if endpoint == "sweep" else [picture, QUESTION, 0.1, "adafv", 500]


@pytest.mark.parametrize("endpoint", ["study", "sweep"])
def test_a_job_ends_when_its_client_hangs_up(endpoint: str) -> None:
    event_id = caller().post(endpoint, data_of(endpoint))
    until(lambda: running() == 1)
    caller().hang_up_on(endpoint, event_id)
    hung_up = time.monotonic()
    until(lambda: running() == 0)
    assert time.monotonic() - hung_up < ENDS_WITHIN_S
    began = time.monotonic()
    assert caller().ask("study", [["t2i"], [0.1], 1])["answers"], "the next one is answered"
    assert time.monotonic() - began < 60


@pytest.mark.local
def test_an_answer_ends_within_a_token_when_its_client_hangs_up() -> None:
    asking = Caller(slow_address())
    ended, told = len(slow_engine().ended), dict(slow_engine().told)
    event_id = asking.post("ask", [asking.upload(scene_path()), QUESTION, 0.1, "adafv"])
    until(lambda: slow_engine().told != told)
    asking.hang_up_on("ask", event_id)
    until(lambda: len(slow_engine().ended) > ended)
    assert slow_engine().ended[ended] < TOKENS


def test_a_call_that_nobody_reads_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queueing, "UNHEARD_S", 0.5)
    for _ in range(2):  # one that runs, one that waits
        caller().post("sweep", data_of("sweep"))
    until(lambda: running() == 1 and len(page()[0]._queue) == 1)
    until(lambda: running() == 0 and len(page()[0]._queue) == 0)


def test_answers_and_time_of_a_request_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.study.run.MOST_ANSWERS", 10)
    context = shared_context()
    hasty = replace(context.settings, longest_job_s=0, port=free_port())
    address = serve(replace(context, settings=hasty, service=replace(context.service, settings=hasty)))[1]
    asking = Caller(address)
    with pytest.raises(Failed):
        asking.ask("study", [["saliency"], [0.1], 20])
    swept = asking.ask("sweep", [asking.upload(scene_path()), QUESTION, ["t2i"], [0.1, 0.2]])
    assert not swept["complete"] and len(swept["rows"]) == 1


def test_a_signal_follows_those_before_it() -> None:
    first, second = StopSignal(), StopSignal()
    after = StopSignal(first, second)
    assert not after.is_set()
    second.set()
    assert after.is_set() and not first.is_set() and StopSignal(second).is_set()


def test_a_download_that_nobody_waits_for_ends_and_one_that_somebody_waits_for_goes_on() -> None:
    mine, other = StopSignal(), StopSignal()
    reported: list[int] = []

    def download(name: str, report: Report) -> Any:
        while len(reported) < 1_000:
            report(DownloadProgress(len(reported), 1_000))
            reported.append(1)
            time.sleep(0.005)
        return name

    pool = ModelPool("first", cast(Any, "FIRST"), download)
    loading = pool.load("large", mine)
    assert pool.load("large", other) is loading
    mine.set()
    with pytest.raises(StoppedError, match="Nobody waits for large any more"):
        loading.engine_for(mine)
    count = len(reported)
    until(lambda: len(reported) > count + 10)
    other.set()
    with pytest.raises(StoppedError):
        loading.engine()
    assert len(reported) < 1_000 and pool.loaded() == ("first",)
