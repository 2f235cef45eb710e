"""Visitors are apart, and what is remembered of them is bounded."""

from __future__ import annotations

from dataclasses import replace

import torch
from helpers.app_site import question, shared_site

from adafv_core.types import Crop, TokenGrid, TokenScores, VisualTokens
from app.serving.sessions import Visit, Visits, tensor_bytes
from app.wire.parse import Shown


def scores(n: int) -> TokenScores:
    values, row = torch.zeros(n, 4), torch.zeros(n)
    grid = TokenGrid((n, 1), (Crop("base", 1, n, (0.0, 0.0, float(n), 1.0), 0),))
    visual = VisualTokens(values, row, grid, values, torch.zeros(1, n))
    return TokenScores(row, row, (), torch.zeros(0, n), torch.zeros(0, dtype=torch.bool), torch.zeros(0, 4), visual, "")


def test_sessions_never_share() -> None:
    visits = Visits("pocket", 10**9)
    one, two = visits.of("one"), visits.of("two")
    one.scored = ("key", scores(8))
    one.begin().set()
    assert two.scored is None and not two.stop.is_set()
    assert visits.of("one") is one and visits.of("two") is two
    assert visits.of(None) is not visits.of(None)


def test_leaving_ends_the_run_and_forgets() -> None:
    visits = Visits("pocket", 10**9)
    stop = visits.of("one").begin()
    visits.leave("one")
    visits.leave("never came")
    assert stop.is_set() and len(visits) == 0


def test_a_new_question_ends_the_running_one() -> None:
    visit = Visit("pocket")
    first = visit.begin()
    second = visit.begin()
    assert first.is_set() and not second.is_set()


def test_a_forgotten_visitor_goes_on_with_the_model_of_the_page() -> None:
    desk = shared_site().desk
    visit = desk.visit("comes back", Shown(model="somebody/else"))
    assert visit.model == "somebody/else"
    assert desk.visit("comes back", Shown(model="pocket")) is visit and visit.model == "somebody/else"
    closed = replace(desk, settings=replace(desk.settings, model_menu=False))
    assert closed.visit("another", Shown(model="somebody/else")).model == "pocket"
    desk.visits.leave("comes back")
    desk.visits.leave("another")


def test_memory_is_bounded_and_the_longest_idle_go_first() -> None:
    visits = Visits("pocket", 3 * Visit("pocket", scored=("", scores(1000))).size_bytes)
    for name in "abcde":
        visits.of(name).scored = (name, scores(1000))
    visits.of("e")
    held = [name for name in "abcde" if visits._by_session[name].scored is not None]
    assert held == ["c", "d", "e"]


def test_many_visitors_are_bounded_too() -> None:
    visits = Visits("pocket", 10**9)
    for index in range(600):
        visits.of(f"visitor {index}")
    assert len(visits) == 512


def test_shared_storage_is_counted_once() -> None:
    visual = scores(10).visual
    assert tensor_bytes(visual, set()) == 4 * (10 * 4 + 10 + 10)


def test_two_visitors_see_only_their_own_run() -> None:
    desk = shared_site().desk
    one, two = Visit("pocket"), Visit("pocket")
    list(desk.ask(one, question("What color is the ring?", index=3)))
    list(desk.ask(two, question("Is there a star?", index=11)))
    assert one.run is not None and two.run is not None
    assert one.run.prompt == "What color is the ring?" and two.run.prompt == "Is there a star?"
    assert one.run.picture.tobytes() != two.run.picture.tobytes()
    assert one.run.scores.visual is not two.run.scores.visual
    assert set(one.full).isdisjoint(two.full)
