"""Models beside each other: one load for all who wait, those that are there go on answering, memory that runs out."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
import torch

from adafv_core.errors import ModelNotFoundError, OutOfMemoryError
from adafv_core.loading.download import DownloadProgress, Report
from app.serving.model_load import ModelLoad, seconds_left
from app.serving.models import ModelPool


def made(load: Callable[[str, Report], Any]) -> ModelPool:
    return ModelPool("first", "FIRST", load)  # type: ignore[arg-type]


def test_all_who_ask_share_one_load_and_the_others_answer_meanwhile() -> None:
    go, begun = threading.Event(), []

    def load(name: str, report: Report) -> Any:
        begun.append(name)
        if name == "slow":
            report(DownloadProgress(1, 4))
            assert go.wait(10)
        return name.upper()

    pool = made(load)
    assert pool.engine("other") == "OTHER"
    waiting = [pool.load("slow"), pool.load("slow")]
    assert waiting[0] is waiting[1] and not waiting[0].ended(0.05)
    assert waiting[0].view() == {"share": 0.25, "text": "Downloading slow: 0.0 of 0.0 kB"}
    assert (pool.engine("first"), pool.engine("other")) == ("FIRST", "OTHER")
    go.set()
    assert waiting[0].engine() == "SLOW" and begun == ["other", "slow"]
    assert pool.loaded() == ("first", "slow")


def test_a_failed_load_changes_nothing_and_can_be_tried_again() -> None:
    wrong: list[Exception] = [ModelNotFoundError("not there")]

    def load(name: str, report: Report) -> Any:
        if name == "new" and wrong:
            raise wrong.pop()
        return name.upper()

    pool = made(load)
    pool.engine("old")
    with pytest.raises(ModelNotFoundError, match="not there"):
        pool.engine("new")
    assert pool.loaded() == ("first", "old") and pool.engine("old") == "OLD"
    assert pool.engine("new") == "NEW" and pool.loaded() == ("first", "new")


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("full"), OutOfMemoryError("full")])
def test_a_model_that_fits_only_in_place_of_another_takes_it(error: Exception) -> None:
    memory: list[str] = []

    def load(name: str, report: Report) -> Any:
        memory[:] = [one for one in memory if one in pool.loaded()]
        if name == "huge" or memory:
            raise error
        memory.append(name)
        return name.upper()

    pool = made(load)
    assert pool.engine("old") == "OLD" and pool.engine("new") == "NEW"
    assert pool.loaded() == ("first", "new")
    with pytest.raises(OutOfMemoryError, match="huge does not fit"):
        pool.engine("huge")
    assert pool.engine("new") == "NEW"


def test_what_is_told_on_the_way() -> None:
    load = ModelLoad("model")
    assert load.view() == {"share": None, "text": "Loading model: 0 s"}
    load.report(DownloadProgress(0, 14_100_000_000))
    assert load.view() == {"share": 0.0, "text": "Downloading model: 0.0 of 14.1 GB"}
    load.report(DownloadProgress(14_100_000_000, 14_100_000_000))
    assert load.view() == {"share": 1.0, "text": "Loading model: 0 s"}
    assert not load.ended(0)


def test_seconds_left_at_the_speed_of_late() -> None:
    marks = deque([(10.0, DownloadProgress(100, 1_000)), (11.0, DownloadProgress(300, 1_000))])
    assert seconds_left(marks) is None
    marks.append((14.0, DownloadProgress(500, 1_000)))
    assert seconds_left(marks) == pytest.approx(5.0)
    assert seconds_left(deque([marks[0], (20.0, DownloadProgress(100, 1_000))])) is None
