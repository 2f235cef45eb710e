"""The answer along the slider: each point is what the library answers alone; stopped, continued, out of the way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from helpers.app_context import QUESTION, question, scene_path, shared_address, shared_context

from adafv_core.engine.gate import StopSignal
from app.serving.answer_strip import COARSE, fill_strip
from app.serving.answer_times import REPEATS, measure_times
from app.serving.page_stream import page_stream
from app.serving.sessions import Run, Session
from app.wire.parse import AskSettings, TokenChoice
from app.wire.payload import slider_ratios
from app.wire.strips import AnswerStrip, StripPoint

CHANGING = (7, "What shape is the yellow thing?")
"""A scene and a question whose answer changes with the budget if random tokens are kept."""


def scored(method: str, choice: TokenChoice | None = None, index: int = CHANGING[0], prompt: str = CHANGING[1]) -> Run:
    return shared_context().service.score(Session("pocket"), question(prompt, method, choice, index=index))


def filled(run: Run, choice: TokenChoice | None = None, correct: str | None = None) -> Iterator[AnswerStrip]:
    return fill_strip(shared_context().service, run, choice or TokenChoice(0.1), StopSignal(), correct)


def by_ratio(ratios: list[float]) -> list[int]:
    places = {
        budget: at for at, budget in enumerate(dict.fromkeys(max(1, int(196 * r + 0.5)) for r in slider_ratios()))
    }
    return [places[max(1, int(196 * ratio + 0.5))] for ratio in ratios]


@pytest.mark.parametrize("method", ["adafv", "random", "fastv"])
def test_every_point_is_the_answer_of_that_budget_alone(method: str) -> None:
    run = scored(method)
    *_, strip = filled(run)
    assert strip.complete and not strip.stopped and strip.n_visual == 196
    assert len(strip.points) >= COARSE and strip.points[-1].n_kept == 196 and strip.points[-1].same
    engine = shared_context().service.pool.engine("pocket")
    for point in (strip.points[0], strip.points[len(strip.points) // 3], strip.points[-2]):
        alone = engine.answer(run.scores, keep_ratio=point.keep_ratio, method=method, max_new_tokens=4)
        assert (point.answer, point.n_kept) == (alone.text, alone.selections[0].size)


def test_neighbors_that_differ_are_next_to_each_other_on_the_slider() -> None:
    *_, strip = filled(scored("random"), correct="ring")
    changes = [(low, high) for low, high in pairwise(strip.points) if low.same != high.same]
    assert changes and all(point.correct == (point.answer == "ring") for point in strip.points)
    for low, high in changes:
        first, second = by_ratio([low.keep_ratio, high.keep_ratio])
        assert second == first + 1
    fewest = min(high.n_kept for _, high in changes[-1:])
    assert strip.holds_down_to == fewest
    assert strip.sentence == f"The answer holds down to {fewest} of 196 tokens, and it is right."


def test_the_budget_that_the_slider_is_at_is_among_them() -> None:
    run = scored("adafv")
    *_, first = filled(run, TokenChoice(0.135))
    *_, again = filled(run, TokenChoice(0.155))
    kept = {point.n_kept for point in again.points}
    assert 26 in kept and 30 in kept and len(again.points) == len(first.points) + 1


def test_a_strip_that_was_stopped_goes_on_where_it_was() -> None:
    run, stop = scored("random"), StopSignal()
    service = shared_context().service
    states = []
    for state in fill_strip(service, run, TokenChoice(0.1), stop):
        states.append(state)
        if len(state.points) >= 3:
            stop.set()
    assert states[-1].stopped and not states[-1].complete and run.strip == states[-1]
    before = states[-1].points
    first, *_, last = filled(run)
    assert first.points == before and last.complete and set(before) < set(last.points)
    again = list(filled(run))
    assert len(again) == 2 and again[-1] == last, "what is measured is not measured again"


def test_marks_make_a_strip_of_their_own() -> None:
    run = scored("adafv")
    *_, free = filled(run)
    marked = TokenChoice(0.1, force_keep=tuple(range(30)))
    *_, strip = filled(run, marked)
    refused = [point for point in strip.points if point.error]
    assert strip.force_keep == tuple(range(30)) and free.force_keep == ()
    assert refused and all("forced" in point.error and point.n_kept == 0 for point in refused)
    assert min(point.n_kept for point in strip.points if not point.error) == 30


def test_a_batch_costs_at_most_a_prefill_of_all_tokens_and_leaves_the_model_in_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = shared_context().service.pool.engine("pocket")
    batches: list[list[int]] = []
    real = engine.answer_batch

    def watched(questions: Any, request: Any, *, selections: Any, **options: Any) -> Any:
        batches.append([made[0].size for made in selections])
        return real(questions, request, selections=selections, **options)

    monkeypatch.setattr(engine, "answer_batch", watched, raising=False)
    *_, strip = filled(scored("random"))
    assert sum(map(len, batches)) == len(strip.points) > len(batches)
    assert all(len(batch) * max(batch) <= 196 for batch in batches) and max(map(len, batches)) > 1


def test_a_question_ends_the_strip_of_its_session_and_is_answered_first() -> None:
    """The strip waits in the line of the background; the question does not stand behind it."""
    service, session = shared_context().service, Session("pocket")
    list(page_stream(service, session, question(), 1))
    assert session.run is not None
    stop = session.filling.begin(1)
    ended = threading.Event()

    def fill() -> None:
        list(fill_strip(service, session.run, TokenChoice(0.1), stop))  # type: ignore[arg-type]
        ended.set()

    with service.background.turn():
        thread = threading.Thread(target=fill)
        thread.start()
        *_, last = page_stream(service, session, question(QUESTION, choice=TokenChoice(0.2)), 2)
        assert '"state": "done"' in last.answers and not ended.is_set()
        session.filling.supersede(2)
        thread.join(10)
        assert ended.is_set()
    assert session.run.strip is None or not session.run.strip.complete


def test_times_are_medians_of_runs_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    service, run = shared_context().service, scored("adafv")
    engine, asked = service.pool.engine("pocket"), []
    real = engine.answer

    def watched(images: Any, prompt: None, request: Any, **options: Any) -> Any:
        asked.append((request.method, real(images, prompt, request, **options)))
        return asked[-1][1]

    monkeypatch.setattr(engine, "answer", watched, raising=False)
    times = measure_times(service, run, TokenChoice(0.1), StopSignal())
    assert [name for name, _ in asked] == ["adafv", "full"] * REPEATS and REPEATS >= 5
    for name, method in (("pruned", "adafv"), ("full", "full")):
        ttft = sorted(answer.ttft_s for one, answer in asked if one == method)
        spread = times[name].ttft
        assert (spread.low_s, spread.median_s, spread.high_s) == (ttft[0], ttft[REPEATS // 2], ttft[-1])
    assert (times["pruned"].n_kept, times["full"].n_kept) == (20, 196)


def test_the_right_answer_is_known_for_the_questions_of_a_drawn_scene_alone() -> None:
    context = shared_context()
    assert context.correct_answer(scored("adafv")) == "ring"
    assert context.correct_answer(scored("adafv", prompt="What is it?")) is None
    asked = question(index=CHANGING[0])
    several = type(asked)(asked.picture, CHANGING[1], "adafv", asked.choice, AskSettings(), (asked.picture,))
    assert context.correct_answer(context.service.score(Session("pocket"), several)) is None


def point(n_kept: int, same: bool | None) -> StripPoint:
    return StripPoint(n_kept / 196, n_kept, "red" if same else "blue", same, error="" if same is not None else "no")


@pytest.mark.parametrize(
    ("outcomes", "complete", "text"),
    [
        ({}, False, ""),
        ({5: True, 196: True}, True, "The answer holds down to 5 of 196 tokens."),
        ({2: False, 5: True, 196: True}, True, "The answer holds down to 5 of 196 tokens."),
        ({2: True, 5: False, 9: True, 196: True}, False, "So far the answer holds down to 9 of 196 tokens."),
        ({2: None, 5: True, 196: True}, True, "The answer holds down to 5 of 196 tokens."),
        ({9: True, 191: False, 196: True}, True, "The answer from all tokens is another one at 191 of 196 tokens."),
    ],
)
def test_the_sentence(outcomes: dict[int, bool | None], complete: bool, text: str) -> None:
    points = tuple(point(n_kept, same) for n_kept, same in outcomes.items())
    assert AnswerStrip("", "q", "pocket", "adafv", 196, 88, points=points, complete=complete).sentence == text


def test_the_endpoint_streams_and_ends_complete() -> None:
    client = Client(shared_address(), verbose=False)
    job = client.submit(handle_file(scene_path(CHANGING[0])), CHANGING[1], "random", 4, api_name="/answer_strip")
    states = list(job)
    counts = [len(state["points"]) for state in states]
    assert len(states) > 2 and counts == sorted(counts) and counts[0] == 0
    last = states[-1]
    *_, strip = filled(scored("random"), TokenChoice(1.0), "ring")
    assert (last["sentence"], last["holds_down_to"]) == (strip.sentence, strip.holds_down_to) and last["complete"]
    assert [one["answer"] for one in last["points"]] == [one.answer for one in strip.points]
    assert (last["full_answer"], last["correct_answer"], last["method"]) == ("ring", "ring", "random")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"method": "nope"}, "the methods are"),
        ({"prompt": " "}, "no question yet"),
        ({"image": None}, "no image yet"),
        ({"max_new_tokens": 0}, "whole number from 1 to 512"),
        ({"temperature": -1}, "at most 1,000,000"),
        ({"force_keep": [196]}, "this image has 196 visual tokens"),
        ({"force_keep": [1], "method": "t2i"}, "force_keep and force_drop are for the method adafv"),
    ],
)
def test_wrong_values_get_a_sentence(change: dict[str, Any], text: str) -> None:
    values = {"image": handle_file(scene_path()), "prompt": QUESTION, **change}
    with pytest.raises(AppError, match=text) as raised:
        Client(shared_address(), verbose=False).predict(**values, api_name="/answer_strip")
    assert "Traceback" not in str(raised.value)
