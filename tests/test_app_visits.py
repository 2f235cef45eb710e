"""Visitors are apart, and what is remembered of them is bounded."""

from __future__ import annotations

import torch
from app_site import question, shared_site

from adafv_core.types import Crop, TokenGrid, VisualTokens
from app.visits import Visit, Visits, tensor_bytes


def tokens(n: int) -> VisualTokens:
    values = torch.zeros(n, 4)
    grid = TokenGrid((n, 1), (Crop("base", 1, n, (0.0, 0.0, float(n), 1.0), 0),))
    return VisualTokens(values, torch.zeros(n), grid, values, torch.zeros(1, n))


def test_sessions_never_share() -> None:
    visits = Visits("pocket", 10**9)
    one, two = visits.of("one"), visits.of("two")
    one.encoded = ("key", tokens(8))
    one.begin().set()
    assert two.encoded is None and not two.stop.is_set()
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


def test_memory_is_bounded_and_the_longest_idle_go_first() -> None:
    most = 3 * tensor_bytes(tokens(1000), set())
    visits = Visits("pocket", most)
    for name in "abcde":
        visits.of(name).encoded = (name, tokens(1000))
    visits.of("e")
    held = [name for name in "abcde" if visits._by_session[name].encoded is not None]
    assert held == ["c", "d", "e"]


def test_many_visitors_are_bounded_too() -> None:
    visits = Visits("pocket", 10**9)
    for index in range(600):
        visits.of(f"visitor {index}")
    assert len(visits) == 512


def test_shared_storage_is_counted_once() -> None:
    assert tensor_bytes(tokens(10), set()) == 4 * (10 * 4 + 10 + 10)


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
