"""Visitors are apart, and what is remembered of them is bounded."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers.app_context import question, shared_context

from adafv_core.memory import tensor_bytes
from adafv_core.types import Crop, TokenGrid, TokenScores, VisualTokens
from app.serving.page_stream import page_stream
from app.serving.sessions import Session, Sessions
from app.wire.parse import PageState


def scores(n: int) -> TokenScores:
    values, row = torch.zeros(n, 4), torch.zeros(n)
    grid = TokenGrid((n, 1), (Crop("base", 1, n, (0.0, 0.0, float(n), 1.0), 0),))
    visual = VisualTokens(values, row, grid, torch.zeros(1, n))
    return TokenScores(row, row, (), torch.zeros(0, n), torch.zeros(0, dtype=torch.bool), torch.zeros(0, 4), visual, "")


def test_sessions_never_share() -> None:
    sessions = Sessions("pocket", 10**9)
    one, two = sessions.of("one"), sessions.of("two")
    one.scores = scores(8)
    one.asking.begin().set()
    assert two.scores is None and not two.asking.stop.is_set()
    assert sessions.of("one") is one and sessions.of("two") is two
    assert sessions.of(None) is not sessions.of(None)


def test_leaving_ends_the_run_and_forgets() -> None:
    sessions = Sessions("pocket", 10**9)
    stop = sessions.of("one").asking.begin()
    sessions.leave("one")
    sessions.leave("never came")
    assert stop.is_set() and len(sessions) == 0


def test_a_new_question_ends_the_running_one() -> None:
    session = Session("pocket")
    first = session.asking.begin()
    second = session.asking.begin()
    assert first.is_set() and not second.is_set()


@pytest.mark.local
def test_a_forgotten_visitor_goes_on_with_the_model_of_the_page() -> None:
    service = shared_context().service
    session = service.session("comes back", PageState(model="somebody/else"))
    assert session.model == "somebody/else"
    assert service.session("comes back", PageState(model="pocket")) is session and session.model == "somebody/else"
    closed = replace(service, settings=replace(service.settings, model_menu=False))
    assert closed.session("another", PageState(model="somebody/else")).model == "pocket"
    service.sessions.leave("comes back")
    service.sessions.leave("another")


def test_memory_is_bounded_and_the_longest_idle_go_first() -> None:
    sessions = Sessions("pocket", 3 * Session("pocket", scores=scores(1000)).size_bytes)
    for name in "abcde":
        sessions.of(name).scores = scores(1000)
    sessions.of("e")
    held = [name for name in "abcde" if sessions._by_id[name].scores is not None]
    assert held == ["c", "d", "e"]


def test_many_visitors_are_bounded_too() -> None:
    sessions = Sessions("pocket", 10**9)
    for index in range(600):
        sessions.of(f"visitor {index}")
    assert len(sessions) == 512


def test_shared_storage_is_counted_once() -> None:
    visual = scores(10).visual
    assert tensor_bytes(visual) == 4 * (10 * 4 + 10 + 10)


def test_two_visitors_see_only_their_own_run() -> None:
    service = shared_context().service
    one, two = Session("pocket"), Session("pocket")
    list(page_stream(service, one, question("What color is the ring?", index=3)))
    list(page_stream(service, two, question("Is there a star?", index=11)))
    assert one.run is not None and two.run is not None
    assert one.run.prompt == "What color is the ring?" and two.run.prompt == "Is there a star?"
    assert one.run.picture.tobytes() != two.run.picture.tobytes()
    assert one.run.scores.visual is not two.run.scores.visual
    assert set(one.full).isdisjoint(two.full)
