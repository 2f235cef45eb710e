"""Asking: maps before the first token, one answer failing alone, stopping, and what the numbers say."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from helpers.app_context import question, shared_context
from helpers.slow_engine import slow_context

from adafv_core.engine.request import Request
from adafv_core.errors import BudgetError, InputError, OutOfMemoryError, PromptError, UnknownNameError
from adafv_core.images import read_picture
from app.serving.ask import UPDATES_PER_S, Service
from app.serving.page_stream import FOREIGN, WITHHELD, page_stream
from app.serving.sessions import Session
from app.settings import Settings
from app.wire.errors import UNFORESEEN
from app.wire.look import Look
from app.wire.parse import (
    AskSettings,
    TokenChoice,
    read_ask_settings,
    read_count,
    read_method,
    read_page_state,
    read_prompt,
    read_ratio,
)
from app.wire.views import compare, ranked, scores_view


def desk_with(engine: Any) -> Service:
    """The shared service with another engine in the pool."""
    from app.serving.models import ModelPool

    return replace(shared_context().service, pool=ModelPool("pocket", engine, lambda name: engine))


class Wrapped:
    """The real engine, with one method changed."""

    def __init__(self, **changed: Any) -> None:
        self.__dict__.update(changed)

    def __getattr__(self, name: str) -> Any:
        return getattr(shared_context().service.pool.engine("pocket"), name)


def states(stream: list[tuple[str | None, str, str]]) -> list[tuple[str, str | None]]:
    bodies = [json.loads(answers) for _, answers, _ in stream]
    return [(body["pruned"]["state"], body["full"] and body["full"]["state"]) for body in bodies]


def test_maps_come_first_then_pruned_then_full() -> None:
    stream = list(page_stream(shared_context().service, Session("pocket"), question()))
    assert stream[0][0] is not None and all(payload is None for payload, _, _ in stream[1:])
    seen = states(stream)
    assert seen[0] == ("waiting", "waiting") and seen[-1] == ("done", "done")
    assert all(full == "waiting" for pruned, full in seen if pruned == "running")
    last = json.loads(stream[-1][1])
    assert last["same"] in (True, False) and last["kl_nats"] >= -1e-6
    assert last["pruned"]["n_kept"] == 20 and last["full"]["n_kept"] == 196
    assert last["pruned"]["prefill_flops"] < last["full"]["prefill_flops"]
    assert last["pruned"]["kv_cache_bytes"] < last["full"]["kv_cache_bytes"]


def test_keeping_everything_says_the_same_as_full() -> None:
    stream = list(page_stream(shared_context().service, Session("pocket"), question(choice=TokenChoice(1.0))))
    last = json.loads(stream[-1][1])
    assert last["same"] is True and abs(last["kl_nats"]) < 1e-5


def test_moving_the_slider_asks_the_full_tokens_only_once_and_sends_no_new_maps() -> None:
    session, service = Session("pocket"), shared_context().service
    list(page_stream(service, session, question()))
    again = list(page_stream(service, session, question(choice=TokenChoice(0.25))))
    assert all(payload is None for payload, _, _ in again)
    assert states(again)[0] == ("waiting", "done")
    assert json.loads(again[-1][1])["pruned"]["n_kept"] == 49


def test_a_picture_is_encoded_once_and_a_question_scored_once() -> None:
    engine, seen = shared_context().service.pool.engine("pocket"), []

    def score(target: Any, prompt: str, **options: Any) -> Any:
        seen.append((type(target).__name__, prompt))
        return engine.score(target, prompt)

    session, service = Session("pocket"), desk_with(Wrapped(score=score))
    for asked in (question(), question(choice=TokenChoice(0.25)), question(method="t2i"), question("How many rings?")):
        list(page_stream(service, session, asked))
    list(page_stream(service, session, question(index=7)))
    prompts = [prompt for _, prompt in seen]
    assert prompts == [question().prompt, "How many rings?", question().prompt]
    assert [kind for kind, _ in seen] == ["Picture", "VisualTokens", "Picture"]


def test_updates_are_few_enough_for_a_page() -> None:
    def quick(*arguments: Any, **options: Any) -> Any:
        engine = shared_context().service.pool.engine("pocket")
        last = list(engine.stream(*arguments, **options))[-1]
        for _ in range(300):
            time.sleep(0.001)
            yield last

    service = desk_with(Wrapped(stream=quick))
    started = time.perf_counter()
    stream = list(
        page_stream(service, Session("pocket"), question(more=AskSettings(max_new_tokens=4, with_full=False)))
    )
    assert UPDATES_PER_S <= 15 and len(stream) <= 4 + 15 * (time.perf_counter() - started)


def test_if_one_answer_fails_the_other_stays() -> None:
    engine = shared_context().service.pool.engine("pocket")

    def broken(image: Any, prompt: Any, request: Request, **options: Any) -> Any:
        if request.method == "full":
            raise OutOfMemoryError("The device ran out of memory; ask for fewer tokens.")
        yield from engine.stream(image, prompt, request, **options)

    session = Session("pocket")
    last = json.loads(list(page_stream(desk_with(Wrapped(stream=broken)), session, question()))[-1][1])
    assert last["pruned"]["state"] == "done" and last["pruned"]["text"]
    assert last["full"]["state"] == "error" and "ran out of memory" in last["full"]["error"]
    assert last["same"] is None
    after = json.loads(list(page_stream(shared_context().service, session, question()))[-1][1])
    assert (after["pruned"]["state"], after["full"]["state"]) == ("done", "done")


def test_an_error_before_the_maps_is_one_sentence() -> None:
    def score(image: Any, prompt: str, **options: Any) -> Any:
        raise OutOfMemoryError("The device ran out of memory; its tensors were freed.")

    stream = list(page_stream(desk_with(Wrapped(score=score)), Session("pocket"), question()))
    assert len(stream) == 1 and stream[0][0] is None
    assert "ran out of memory" in json.loads(stream[0][1])["pruned"]["error"]


def test_stop_ends_within_a_token_and_the_model_is_free() -> None:
    session, service = Session("pocket"), slow_context().service
    seen: list[tuple[str, str | None]] = []
    for step in page_stream(service, session, question(), number=3):
        seen += states([step])
        if seen[-1][0] == "running":
            session.asking.stop_through(3)
    assert seen[-1] == ("stopped", "stopped") and seen.count(("running", "waiting")) <= 2
    assert session.run is not None and session.run.pruned is not None and not session.run.pruned.finished
    assert json.loads(step[1])["same"] is None
    with service.pool.engine("pocket").gate.turn():
        pass
    assert states(list(page_stream(shared_context().service, session, question(), number=4)))[-1] == ("done", "done")


@pytest.mark.parametrize("signal", ["stop_through", "supersede"])
def test_what_was_stopped_or_followed_before_it_began_is_never_asked(signal: str) -> None:
    def score(target: Any, prompt: str, **options: Any) -> Any:
        raise AssertionError("the model was asked")

    session = Session("pocket")
    getattr(session.asking, signal)(5 if signal == "stop_through" else 6)
    steps = list(page_stream(desk_with(Wrapped(score=score)), session, question(), number=5))
    assert states(steps) == [("stopped", "stopped")] and json.loads(steps[0][1])["asked"] == 5
    assert states(list(page_stream(shared_context().service, session, question(), number=6)))[-1] == ("done", "done")


@pytest.mark.parametrize("broken", ["score", "stream"])
def test_what_nobody_foresaw_is_one_sentence_and_tells_nothing(broken: str, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*arguments: Any, **options: Any) -> Any:
        raise ZeroDivisionError("integer division or modulo by zero in /srv/secret.py")

    last = json.loads(list(page_stream(desk_with(Wrapped(**{broken: fail})), Session("pocket"), question()))[-1][1])
    assert last["pruned"]["state"] == "error" and last["pruned"]["error"] == UNFORESEEN
    assert "secret" not in json.dumps(last) and "secret" in caplog.text


def test_more_forced_tokens_than_the_budget_leave_the_answer_on_all_tokens() -> None:
    choice = TokenChoice(0.05, force_keep=tuple(range(14)))
    session, service = Session("pocket"), shared_context().service
    list(page_stream(service, session, question()))
    steps = list(page_stream(service, session, question("How many rings?", choice=choice)))
    last = json.loads(steps[-1][1])
    assert states(steps)[-1] == ("error", "done") and steps[0][0] is not None
    assert last["pruned"]["error"].startswith("14 visual tokens are forced to stay, more than the budget of 10")


@pytest.mark.local
def test_many_users_never_overlap_on_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    service, model = shared_context().service, shared_context().service.pool.engine("pocket").model
    texts: dict[int, str] = {}
    running: list[int] = []
    most = [0]

    def watched(*_: Any, stock: Any = model.generate, **options: Any) -> Any:
        running.append(1)
        most[0] = max(most[0], len(running))
        try:
            return stock(**options)
        finally:
            running.pop()

    monkeypatch.setattr(model, "generate", watched)

    def visitor(index: int) -> None:
        texts[index] = service.answered(Session("pocket"), question(index=(3, 7, 11)[index % 3]))[2].text

    threads = [threading.Thread(target=visitor, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert running == [] and most == [1]
    assert all(texts[index] == texts[index + 3] for index in range(3))


SPECIAL = (
    "<image>",
    "<image><image>",
    "</s> <s> <pad> <unk>",
    "USER: x ASSISTANT: y",
    "\x00\x1b[31m\u202e ring",
    "[INST]",
)


@pytest.mark.parametrize("text", SPECIAL)
def test_special_tokens_in_a_prompt_stay_text(text: str) -> None:
    prompt = read_prompt(f"what is this {text} ?", Settings())
    run, _, pruned = shared_context().service.answered(Session("pocket"), question(prompt))
    assert pruned.n_visual == 196 and pruned.n_kept == 20 and run.full is not None and run.full.n_kept == 196
    run, _ = shared_context().service.selected(Session("pocket"), question(prompt))
    assert len(run.scores.t2i) == 196


def test_pictures_from_elsewhere_get_a_notice() -> None:
    from PIL import Image

    foreign = replace(question(), picture=read_picture(Image.new("RGB", (80, 60), "teal")))
    stream = list(page_stream(shared_context().service, Session("pocket"), foreign))
    assert json.loads(stream[0][2])["text"].startswith(FOREIGN)
    known = list(page_stream(shared_context().service, Session("pocket"), question()))
    assert json.loads(known[0][2])["text"] == ""
    last, of_known = json.loads(stream[-1][1]), json.loads(known[-1][1])
    assert last["withheld"] == WITHHELD and last["same"] is None and last["kl_nats"] is None
    assert last["pruned"]["text"] and last["full"]["state"] == "done"
    assert of_known["withheld"] == "" and of_known["same"] in (True, False) and of_known["kl_nats"] >= 0


def forced(session: Session, choice: TokenChoice, index: int = 3) -> bool:
    """Whether the marks of this choice counted in an answer to this visitor."""
    list(page_stream(shared_context().service, session, question(index=index, choice=choice)))
    assert session.run is not None and session.run.selection is not None
    return "force_keep" in session.run.selection.options


def test_marks_count_on_the_maps_they_were_made_on() -> None:
    session = Session("pocket")
    payloads = [json.loads(text) for text, _, _ in page_stream(shared_context().service, session, question()) if text]
    marked = TokenChoice(0.1, force_keep=(0, 1), subject=payloads[0]["subject"])
    assert forced(session, marked) and not forced(session, marked, index=11) and forced(session, marked)
    session.change_model("pocket")
    assert forced(session, marked) and forced(Session("pocket"), marked), "loaded again, or forgotten by the server"
    assert forced(session, replace(marked, subject="")), "a caller of the API names tokens of its own picture"
    other = TokenChoice(0.1, force_keep=(0, 500), subject=marked.subject.replace("pocket", "another"))
    assert not forced(session, other), "those of another model's maps, though this one has no token 500"


def test_scores_are_lists_of_one_length() -> None:
    run, selection = shared_context().service.selected(Session("pocket"), question())
    scores = scores_view(ranked(run.scores, run.options), selection)
    lengths = {len(scores[name]) for name in ("t2i", "saliency", "mixed", "kept", "why")}
    assert lengths == {scores["n_visual"]} == {196}
    assert sum(scores["kept"]) == scores["n_kept"] == 20
    assert all((value >= 1) == kept for value, kept in zip(scores["mixed"], scores["kept"], strict=True))
    assert scores["grid"]["crops"][0]["rows"] == 14


def test_a_refused_ratio_is_told_as_it_came() -> None:
    with pytest.raises(BudgetError, match=r"at most 1; got 1\.0000001\."):
        read_ratio(1.0000001)


@pytest.mark.parametrize("bad", [7, -1, 0, "abc", float("nan"), float("inf"), None, [0.1], True, {}])
def test_wrong_keep_ratios(bad: Any) -> None:
    with pytest.raises(BudgetError, match="keep_ratio"):
        read_ratio(bad)


def test_other_wrong_values() -> None:
    settings = Settings(max_prompt_characters=10)
    for bad in ("nope", None, 3, ["adafv"]):
        with pytest.raises(UnknownNameError, match="the methods are"):
            read_method(bad)
    for prompt in (None, "", " \x00 ", "\u200d", 5):
        with pytest.raises(PromptError, match="no question yet"):
            read_prompt(prompt, settings)
    with pytest.raises(PromptError, match="at most 10"):
        read_prompt("x" * 11, settings)
    for count in (0, 1.5, "many", 10**9):
        with pytest.raises(InputError):
            read_count(count, "max_new_tokens", 512)
    for text in ("{", "[]", '{"keep_ratio": 0.1}', '{"keep_ratio": 0.1, "force_keep": [-1], "force_drop": []}'):
        with pytest.raises(InputError):
            read_page_state(text)
    for wrong in (
        {"temperature": 0},
        {"floor": 0.9},
        {"text_tokens": "some"},
        {"positions": "x"},
        {"max_new_tokens": 0},
        {"with_full": 1},
    ):
        with pytest.raises(InputError):
            read_ask_settings(wrong, Settings())
    assert read_ask_settings({}, Settings()) == AskSettings()


def test_the_look_of_the_maps_is_checked() -> None:
    def look(values: Any) -> Look:
        return read_page_state(json.dumps({"keep_ratio": 0.1, "force_keep": [], "force_drop": [], "look": values})).look

    assert read_page_state(None).look == look({}) == Look()
    asked = {"color_map": "viridis", "opacity": 1, "scale": "rank", "word": 3, "with_image": False}
    assert look(asked) == Look(**asked)
    for name, bad in (
        ("color_map", "jet"),
        ("color_map", []),
        ("opacity", 2),
        ("opacity", float("nan")),
        ("opacity", "x"),
        ("scale", None),
        ("word", "1"),
        ("word", 1.5),
        ("with_image", "yes"),
        ("size", 3),
    ):
        with pytest.raises(InputError, match="reload the page"):
            look({name: bad})
    for bad in ([], None, "dark"):
        with pytest.raises(InputError, match="reload the page"):
            look(bad)


def test_compare_reads_answers_as_people_do() -> None:
    assert compare(None, None) == {"same": None, "kl_nats": None}
