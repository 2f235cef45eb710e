"""Compare A | B on the server: each side is what the library answers alone, times in turns, sessions apart."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from helpers.app_context import QUESTION, question, scene_path, shared_address, shared_context
from PIL import Image

from adafv_core.engine.gate import StopSignal
from adafv_core.errors import StoppedError
from adafv_core.methods import METHODS
from app.serving.answer_times import REPEATS
from app.serving.comparison import compare_sides
from app.serving.page_stream import page_stream
from app.serving.sessions import Session, Side
from app.wire.parse import AskSettings, TokenChoice
from app.wire.views import divergence

PROMPT = "What is the location of the square?"
SCENE = 10


def side(
    method: str = "adafv", keep_ratio: float = 0.1, prompt: str = PROMPT, index: int = SCENE, **marks: Any
) -> Side:
    choice = TokenChoice(keep_ratio, **marks)
    return Side(
        shared_context().service.score(Session("pocket"), question(prompt, method, choice, index=index)), choice
    )


def compared(a: Side, b: Side) -> list[dict[str, Any]]:
    return list(compare_sides(shared_context().service, a, b, StopSignal()))


def test_each_side_is_what_the_library_answers_alone() -> None:
    engine = shared_context().service.pool.engine("pocket")
    scores = engine.score(Image.open(scene_path(SCENE)).convert("RGB"), PROMPT)
    drop = torch.zeros(196, dtype=torch.bool)
    drop[52] = True
    a, b = (
        engine.answer(scores, keep_ratio=0.1, max_new_tokens=4, force_drop=drop),
        engine.answer(scores, keep_ratio=0.05, method="divprune", max_new_tokens=4),
    )
    full = engine.answer(scores, keep_ratio=1.0, method="full", max_new_tokens=4)
    first, last = compared(side(force_drop=(52,)), side("divprune", 0.05))
    assert first["times"] is None and {**last, "times": None} == first
    for name, answer in (("a", a), ("b", b)):
        found = last[name]
        assert (found["answer"], found["full_answer"], found["n_kept"]) == (answer.text, full.text, answer.n_kept)
        assert (
            found["kept"] == [answer.selections[0].indices.tolist()]
            and found["kv_cache_bytes"] == answer.kv_cache_bytes
        )
        assert found["kl_from_full_nats"] == pytest.approx(divergence(full, answer), abs=1e-5)
    assert (last["a"]["method_title"], last["b"]["method"]) == (METHODS["adafv"].title, "divprune")
    assert last["same"] == (a.text == b.text) and last["kl_nats"] == pytest.approx(divergence(a, b), abs=1e-5)
    of_a, of_b = ({*answer.selections[0].indices.tolist()} for answer in (a, b))
    expected = {"both": len(of_a & of_b), "only_a": len(of_a - of_b), "only_b": len(of_b - of_a)}
    assert last["tokens"] == expected and 52 not in of_a


def test_times_are_medians_of_runs_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, asked = shared_context().service.pool.engine("pocket"), []
    real = engine.answer

    def watched(images: Any, prompt: None, request: Any, **options: Any) -> Any:
        answer = real(images, prompt, request, **options)
        asked.append((request.method, request.max_new_tokens, answer))
        return answer

    monkeypatch.setattr(engine, "answer", watched, raising=False)
    *_, last = compared(side(), side("saliency"))
    assert [name for name, *_ in asked] == ["adafv", "saliency", "full", *["adafv", "saliency"] * REPEATS]
    assert {longest for _, longest, _ in asked[3:]} == {1}
    for name, method in (("a", "adafv"), ("b", "saliency")):
        ttft = sorted(answer.ttft_s for one, _, answer in asked[3:] if one == method)
        assert last["times"][name]["ttft"] == {
            "median_s": ttft[REPEATS // 2],
            "low_s": ttft[0],
            "high_s": ttft[-1],
        }


def test_tokens_of_other_pictures_are_not_compared() -> None:
    first, *_ = compared(side(), side(index=3))
    assert first["tokens"] is None and first["a"]["full_answer"] != ""
    first, *_ = compared(side(), side(prompt=QUESTION))
    assert first["tokens"] is not None and first["b"]["prompt"] == QUESTION


def test_a_question_ends_it_and_is_answered_first() -> None:
    service, session = shared_context().service, Session("pocket")
    list(page_stream(service, session, question(PROMPT, index=SCENE), 1))
    stop, ended = session.comparing.begin(1), threading.Event()

    def measure() -> None:
        with pytest.raises(StoppedError):
            list(compare_sides(service, side(), side("random"), stop))
        ended.set()

    with service.background.turn():
        thread = threading.Thread(target=measure)
        thread.start()
        *_, last = page_stream(service, session, question(QUESTION, choice=TokenChoice(0.2)), 2)
        assert '"state": "done"' in last.answers and not ended.is_set()
        session.comparing.supersede(2)
        thread.join(10)
    assert ended.is_set()


def test_a_pinned_side_counts_as_memory_of_its_session_and_is_forgotten_with_it() -> None:
    session = Session("pocket")
    before = session.size_bytes
    session.pinned = side()
    assert session.size_bytes > before + 196
    session.forget()
    assert session.pinned is None and session.size_bytes == before


def test_the_endpoint_compares_and_side_b_differs_by_what_b_names() -> None:
    client, picture = Client(shared_address(), verbose=False), handle_file(scene_path(SCENE))
    sent = client.predict(
        picture, PROMPT, 0.1, "adafv", {"method": "divprune"}, 4, force_drop=[52], floor=0.25, api_name="/compare"
    )
    json.dumps(sent)
    alone = client.predict(picture, PROMPT, 0.1, "divprune", 4, api_name="/ask")
    assert (sent["b"]["answer"], sent["b"]["n_kept"]) == (alone["answer"], alone["n_kept"])
    assert sent["b"]["kl_from_full_nats"] == pytest.approx(alone["kl_nats"], abs=1e-4)
    assert 52 not in sent["a"]["kept"][0] and sent["a"]["options"]["floor"] == 0.25
    assert sent["times"]["a"]["ttft"]["low_s"] <= sent["times"]["a"]["ttft"]["median_s"]
    other = client.predict(
        picture, PROMPT, b={"prompt": QUESTION, "keep_ratio": 0.25, "temperature": 5}, api_name="/compare"
    )
    assert (other["b"]["prompt"], other["b"]["n_kept"], other["b"]["options"]["temperature"]) == (QUESTION, 49, 5)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"b": {}}, "b must name at least one of max_new_tokens, share, prompt, keep_ratio"),
        ({"b": {"image": "/etc/passwd"}}, "b must name at least one of"),
        ({"b": ["method"]}, "b must name at least one of"),
        ({"b": {"method": "nope"}}, "the methods are"),
        ({"b": {"keep_ratio": 7}}, "at most 1"),
        ({"b": {"force_keep": [1], "method": "t2i"}}, "force_keep and force_drop are for the method adafv"),
        ({"method": "nope"}, "the methods are"),
        ({"image": None}, "no image yet"),
    ],
)
def test_wrong_values_get_a_sentence(change: dict[str, Any], text: str) -> None:
    values = {"image": handle_file(scene_path()), "prompt": QUESTION, **change}
    with pytest.raises(AppError, match=text) as raised:
        Client(shared_address(), verbose=False).predict(**values, api_name="/compare")
    assert "Traceback" not in str(raised.value)


def test_settings_of_the_page_are_those_of_both_sides() -> None:
    """Each run keeps the settings that it was asked with."""
    service = shared_context().service
    choice = TokenChoice(0.1)
    few = AskSettings(max_new_tokens=1, positions="original")
    a = Side(service.score(Session("pocket"), question(PROMPT, more=few, index=SCENE)), choice)
    first, *_ = compared(a, side())
    assert (first["a"]["options"]["positions"], first["b"]["options"]["positions"]) == ("original", "default")
    assert len(first["a"]["answer"]) <= len(first["b"]["answer"])
