"""Methods with rules of their own on the page: inside the LLM, budgets that do not fit, times that hold all work."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from helpers.app_context import many_crops_context, question, shared_context
from helpers.made_scores import made_scores
from PIL import Image

from adafv_core.engine import Engine
from adafv_core.errors import BudgetError
from adafv_core.methods import METHODS, get_method
from adafv_core.types import Answer, Selection
from app.serving.ask import Service
from app.serving.page_stream import page_stream
from app.serving.sessions import Session
from app.wire.parse import AskSettings, TokenChoice
from app.wire.payload import method_note, payload


def why_at(body: dict[str, Any], step: int) -> np.ndarray:
    """The reasons that a payload sends for one step."""
    packed = np.frombuffer(base64.b64decode(body["tables"][step]), np.uint8)
    return np.stack((packed & 15, packed >> 4), axis=1).ravel()[: body["n"]]


def asked(service: Service, session: Session, method: str, **changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The payload and the last answers."""
    stream = list(page_stream(service, session, question(method=method, **changes)))
    return json.loads(stream[0][0] or "{}"), json.loads(stream[-1][1])


@pytest.mark.parametrize("method", METHODS)
def test_the_note_says_in_one_sentence_what_a_method_does(method: str) -> None:
    note = method_note(method)
    assert note.endswith(".") and ". " not in note and note.count("(") == note.count(")")
    does = re.sub(r"\(.*?\)|^\w+ \(.*?\):", "", note)
    assert len(does.split()) >= 8 and len(note) <= 140, note
    published = (
        "adafv",
        "adav_authors",
        "visionzip",
        "vispruner",
        "divprune",
        "fastv",
        "saliency",
        "scope",
        "mmtok",
        "cdpruner",
        "eadp_llm",
        "sparsevlm",
        "pyramiddrop",
    )
    assert ("arXiv" in note) is (method in published)


@pytest.mark.parametrize("method", ["fastv", "adav_authors"])
def test_the_page_keeps_what_the_engine_keeps(method: str) -> None:
    service, session = shared_context().service, Session("pocket")
    body, last = asked(service, session, method)
    assert (last["pruned"]["state"], last["full"]["state"]) == ("done", "done")
    assert session.run is not None and session.run.pruned is not None and session.run.selection is not None
    assert last["pruned"]["n_kept"] == int(session.run.selection.kept.sum()) > 0
    assert session.run.pruned.selection.kept.equal(session.run.selection.kept)
    engine = service.pool.engine("pocket")
    for step in (2, 18, 45, len(body["steps"]) - 1):
        selection = engine.select(session.run.scores, budget=body["steps"][step]["budget"], method=method)
        assert np.array_equal(why_at(body, step), selection.why.numpy())


@pytest.mark.local
def test_inside_the_llm_one_prefill_serves_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    stock, counted = Engine.select, []

    def select(self: Engine, *arguments: Any, **options: Any) -> Any:
        counted.append(self.name)
        return stock(self, *arguments, **options)

    monkeypatch.setattr(Engine, "select", select)
    body, _ = asked(
        shared_context().service, Session("pocket"), "fastv", more=AskSettings(max_new_tokens=1, with_full=False)
    )
    assert len(body["steps"]) > 60 and counted == ["pocket", "pocket"]


def test_neighboring_floats_keep_their_order_at_every_step() -> None:
    """Values one step of float32 apart around a power of two, which any scaling would make equal."""
    scores = made_scores(side=14)
    steps = torch.randperm(scores.size, generator=torch.Generator().manual_seed(1)) - scores.size // 2
    attention = (torch.tensor(0.25).view(torch.int32) + steps.int()).view(torch.float32)[None]
    attention[0, 7] = 0.45
    method = get_method("fastv")

    def select(budget: int) -> Selection:
        return method.select_from_attention(attention, budget, layers=4)

    picture = Image.new("RGB", (8, 8))
    body = json.loads(payload(scores, picture, select, method="fastv", options={}, keep_ratio=0.1, key="key"))
    for number, step in enumerate(body["steps"]):
        assert np.array_equal(why_at(body, number), select(step["budget"]).why.numpy())


@pytest.mark.parametrize("method", ["fastv", "sparsevlm", "pyramiddrop", "adav_authors"])
def test_the_api_answers_too(method: str) -> None:
    run, _, pruned = shared_context().service.answered(Session("pocket"), question(method=method, more=AskSettings()))
    assert pruned.text and 1 <= pruned.n_kept <= 20 and run.full is not None and run.full.n_kept == 196


def test_steps_below_the_authors_smallest_budget_say_so() -> None:
    service = many_crops_context().service
    session = Session(service.pool.first)
    body, last = asked(service, session, "adav_authors", choice=TokenChoice(0.5))
    assert last["pruned"]["state"] == "done" and len(body["crops"]) == 2
    assert "ask for at least" in body["steps"][0]["problem"] and not why_at(body, 0).any()
    assert "problem" not in body["steps"][-1]
    with pytest.raises(BudgetError, match="ask for at least"):
        service.answered(session, question(method="adav_authors", choice=TokenChoice(0.01)))


def test_a_pruned_answers_time_holds_scoring_and_choosing() -> None:
    session = Session("pocket")
    _, last = asked(shared_context().service, session, "adafv")
    assert last["pruned"]["encode_s"] == last["full"]["encode_s"] == 0
    pruned = last["pruned"]
    assert pruned["select_s"] > 0
    assert pruned["ttft_s"] >= pruned["select_s"] + 0.9 * pruned["prefill_s"]


@pytest.mark.local
def test_a_model_loaded_later_has_answered_both_ways_before_its_first_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stock, methods = Engine.stream, []

    def stream(self: Engine, *arguments: Any, **options: Any) -> Iterator[Answer]:
        methods.append((self.name, options["method"]))
        return stock(self, *arguments, **options)

    folder = many_crops_context().service.pool.first
    monkeypatch.setattr(Engine, "stream", stream)
    engine = shared_context().service.pool.engine(folder)
    assert methods == [(engine.name, "adafv"), (engine.name, "full")]


def test_stop_ends_the_model_within_a_token() -> None:
    service = many_crops_context().service
    session, engine = Session(service.pool.first), service.pool.engine(service.pool.first)
    long = question(choice=TokenChoice(0.5), more=AskSettings(max_new_tokens=60))
    begun = []

    def press_stop(*_: Any) -> None:
        begun.append(len(begun) + 1)
        if len(begun) == 5:
            session.asking.stop.set()

    hook = engine.model.register_forward_pre_hook(press_stop)
    try:
        last = json.loads(list(page_stream(service, session, long))[-1][1])
        assert (last["pruned"]["state"], last["full"]["state"]) == ("stopped", "stopped")
        assert 5 <= len(begun) <= 6
        begun.extend(range(5))
        list(page_stream(service, session, long))
    finally:
        hook.remove()
    assert len(begun) > 40
