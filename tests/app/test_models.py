"""Models beside each other: one load for all who wait, those that are there go on answering, memory that runs out."""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers.app_context import question, shared_context
from PIL import Image

from adafv_core.errors import ModelNotFoundError, OutOfMemoryError
from adafv_core.images import read_picture
from adafv_core.loading.download import DownloadProgress, Report
from adafv_core.loading.known_models import KNOWN_MODELS
from adafv_core.memory import available_bytes
from app.explore.model_menu import choices
from app.serving.model_load import ModelLoad, seconds_left
from app.serving.models import ModelPool, estimated_s, offer_sentence, offered, offered_on_gpu, others
from app.serving.page_stream import FOREIGN, SEVERAL, page_stream
from app.serving.sessions import Session
from app.wire.parse import AskSettings


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


def test_models_that_fit_into_free_memory_are_listed_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU the smallest at the top; what does not fit says how much it needs."""
    pool = ModelPool("pocket", SimpleNamespace(device=torch.device("cpu")), lambda name, report: None)  # type: ignore
    monkeypatch.setattr("app.serving.models.available_bytes", lambda device: 6_000_000_000)
    listed = others("pocket", pool.device)
    assert [fits for _, fits in listed] == sorted((fits for _, fits in listed), reverse=True)
    assert len(listed) == len(KNOWN_MODELS) and {fits for _, fits in listed} == {True, False}
    assert all((known.cpu_bytes <= 6_000_000_000) == fits for known, fits in listed)
    texts = [text for text, _ in choices(pool)]
    assert texts[0] == "pocket" and texts[1].startswith("SmolVLM 256M · ") and "needs" not in texts[1]
    assert texts[-1] == "LLaVA-NeXT 34B · 69.5 GB download · Apache-2.0 · needs 167 GB of free memory"
    monkeypatch.setattr("app.serving.models.available_bytes", lambda device: None)
    assert [known for known, _ in others("pocket", pool.device)] == list(KNOWN_MODELS)
    assert {fits for _, fits in others("pocket", pool.device)} == {None}


def test_a_picture_from_elsewhere_is_answered_by_an_offer_of_the_smallest_model_that_fits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = ModelPool("pocket", SimpleNamespace(device=torch.device("cpu")), lambda name, report: None)  # type: ignore
    for free, title in ((6_000_000_000, "SmolVLM 256M"), (100, None), (None, None)):
        monkeypatch.setattr("app.serving.models.available_bytes", lambda device, free=free: free)
        known, text = offered(pool), offer_sentence(pool)
        assert (known.title if known else None) == title
        if known is None:
            assert text == ""
            continue
        said = re.search(r"SmolVLM 256M \(0\.5 GB download, Apache-2\.0; estimated (\d+) s to read a picture", text)
        assert said is not None and int(said[1]) == max(1, round(estimated_s(known, pool.device)))
    small, large = KNOWN_MODELS[0], max(KNOWN_MODELS, key=lambda known: known.parameters * known.n_visual)
    assert 0 < estimated_s(small, pool.device) < estimated_s(large, pool.device)


def test_where_there_is_a_gpu_the_papers_model_is_offered_if_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = ModelPool("pocket", SimpleNamespace(device=torch.device("cuda")), lambda name, report: None)  # type: ignore
    for free, title in ((40_000_000_000, "LLaVA-1.5 7B"), (6_000_000_000, "SmolVLM 256M"), (None, "LLaVA-1.5 7B")):
        monkeypatch.setattr("app.serving.models.available_bytes", lambda device, free=free: free)
        assert offered_on_gpu(pool).title == title


@pytest.mark.local
def test_the_notice_about_other_pictures_names_the_model_that_its_button_loads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = shared_context()
    for free in (6_000_000_000, 100):
        monkeypatch.setattr("app.serving.models.available_bytes", lambda device, free=free: free)
        for more, foreign in ((False, True), (True, False)):
            asked = question(more=AskSettings(max_new_tokens=1, with_full=False))
            other = read_picture(Image.new("RGB", (64, 64), "red"))
            asked = replace(asked, more=(asked.picture,)) if more else replace(asked, picture=other)
            update = next(page_stream(context.service, Session("pocket"), asked))
            told = json.loads(update.notice or "")
            assert told["text"].startswith(FOREIGN if foreign else SEVERAL)
            if free > 100:
                assert told["offer"] == {"model": "HuggingFaceTB/SmolVLM-256M-Instruct", "button": "Load SmolVLM 256M"}
                assert "The smallest that fits here is SmolVLM 256M (" in told["text"]
            else:
                assert told["offer"] is None
    fixed = replace(context.service, settings=replace(context.settings, model_menu=False))
    update = next(page_stream(fixed, Session("pocket"), asked))
    assert json.loads(update.notice or "")["text"] == SEVERAL and json.loads(update.notice or "")["offer"] is None


def test_memory_that_is_free_here() -> None:
    free = available_bytes(torch.device("cpu"))
    assert free is not None and 100_000_000 < free < 1 << 50
