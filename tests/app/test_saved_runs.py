"""A saved run reads back equal, gives the same kept tokens in the library, and damage is told."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.app_context import question, shared_context
from PIL import Image

import adafv_core
from adafv_core.errors import AdaFVError, InputError
from app.saved_runs.save_and_open import open_run, save_json, save_png
from app.serving.ask import AskRequest
from app.serving.page_stream import page_stream
from app.serving.sessions import Session
from app.wire.parse import AskSettings, PageState, TokenChoice, read_page_state
from app.wire.payload import OWN_RATIO_ONLY


def saved(choice: TokenChoice, method: str = "adafv") -> tuple[Session, Path]:
    session = Session("pocket")
    list(page_stream(shared_context().service, session, question(method=method, choice=choice)))
    text = json.dumps(
        {"keep_ratio": choice.keep_ratio, "force_keep": choice.force_keep, "force_drop": choice.force_drop}
    )
    return session, Path(save_json(shared_context(), session, read_page_state(text)))


def test_a_run_reads_back_equal_and_the_library_keeps_the_same() -> None:
    session, path = saved(TokenChoice(0.1))
    text = path.read_text(encoding="utf-8")
    record, run = json.loads(text), adafv_core.read_run(text)
    scores = run.scores
    assert session.run is not None and session.run.selection is not None
    assert torch.equal(scores.t2i, session.run.scores.t2i) and torch.equal(scores.saliency, session.run.scores.saliency)
    assert torch.equal(scores.word_t2i, session.run.scores.word_t2i) and scores.words == session.run.scores.words
    assert scores.visual.grid == session.run.scores.visual.grid
    plain = record["scores"]
    mixed = adafv_core.mix(torch.tensor(plain["t2i"]), torch.tensor(plain["saliency"]), record["selection"]["budget"])
    assert mixed.kept.nonzero()[:, 0].tolist() == record["selection"]["kept"]
    assert mixed.mixed.tolist() == pytest.approx(record["selection"]["mixed"], rel=1e-6)
    for name in ("indices", "kept", "mixed", "why"):
        assert torch.equal(getattr(run.selection, name), getattr(session.run.selection, name))
    again = adafv_core.get_method(run.method).select(scores, run.selection.budget)
    assert torch.equal(again.indices, run.selection.indices)
    assert run.answers["pruned"]["text"] and run.versions["torch"] and run.model == "pocket"
    assert Image.open(io.BytesIO(run.picture)).size == (672, 672)


@pytest.mark.parametrize(
    "more", [AskSettings(temperature=20.0), AskSettings(text_tokens="all"), AskSettings(floor=0.25)]
)
def test_the_options_of_a_run_come_back(more: AskSettings) -> None:
    session = Session("pocket")
    list(page_stream(shared_context().service, session, question(more=replace(more, max_new_tokens=4))))
    run = adafv_core.read_run(Path(save_json(shared_context(), session, PageState())).read_text(encoding="utf-8"))
    assert session.run is not None and session.run.selection is not None
    assert torch.equal(run.selection.indices, session.run.selection.indices)
    again = adafv_core.get_method("adafv", **run.options).select(run.scores, run.selection.budget)
    assert torch.equal(again.indices, run.selection.indices)
    assert torch.equal(run.scores.word_t2i[run.scores.counted].amax(0), run.scores.t2i)


def test_what_was_opened_is_what_is_saved_again() -> None:
    context = shared_context()
    _, path = saved(TokenChoice(0.1, (0,), (9,)))
    first = json.loads(path.read_text(encoding="utf-8"))
    first.update(model="somebody/else", revision="abc", versions={**first["versions"], "torch": "1.0"})
    path.write_text(json.dumps(first), encoding="utf-8")
    session = Session("pocket")
    list(page_stream(context.service, session, question(index=7)))
    open_run(context, session, path)
    same = json.dumps({name: first[name] for name in ("keep_ratio", "force_keep", "force_drop")})
    assert json.loads(Path(save_json(context, session, read_page_state(same))).read_text(encoding="utf-8")) == first
    moved = json.loads(Path(save_json(context, session, PageState())).read_text(encoding="utf-8"))
    assert moved["model"] == "somebody/else" and moved["force_keep"] == []
    assert adafv_core.read_run(json.dumps(moved)).selection.size == 20


NOT_FROM_SCORES = ("adav_authors", "visionzip", "vispruner", "divprune", "fastv")


def bits(table: str) -> list[int]:
    """Why each token stays, from one step's table."""
    return [half for byte in base64.b64decode(table) for half in (byte & 15, byte >> 4)]


@pytest.mark.parametrize("method", NOT_FROM_SCORES)
def test_methods_that_read_features_open_at_their_own_keep_ratio(method: str) -> None:
    context, session = shared_context(), Session("pocket")
    _, path = saved(TokenChoice(0.4), method)
    record = json.loads(path.read_text(encoding="utf-8"))
    opened = open_run(context, session, path)
    body = json.loads(opened.payload)
    able = [at for at, step in enumerate(body["steps"]) if "problem" not in step]
    assert [body["steps"][at]["ratio"] for at in able] == [body["keep_ratio"]] == [0.4]
    assert {step.get("problem") for step in body["steps"]} == {None, OWN_RATIO_ONLY}
    assert bits(body["tables"][able[0]])[: body["n"]] == record["selection"]["why"]
    mixed = np.array(record["selection"]["why"]) > 0
    if "mixed" in body["steps"][able[0]]:
        mixed = np.frombuffer(base64.b64decode(body["steps"][able[0]]["mixed"]), np.float32)
    assert mixed.tolist() == pytest.approx(record["selection"]["mixed"], rel=1e-6)
    assert json.loads(opened.answers)["pruned"] == record["answers"]["pruned"]
    same = json.dumps({name: record[name] for name in ("keep_ratio", "force_keep", "force_drop")})
    assert Path(save_json(context, session, read_page_state(same))).read_bytes() == path.read_bytes()
    assert Image.open(save_png(context, session, read_page_state(same))).width == 2 * 672 + 12
    with pytest.raises(InputError, match="its own keep ratio only"):
        save_json(context, session, PageState())


@pytest.mark.parametrize("method", ["adafv", "saliency", "random"])
def test_an_opened_run_is_saved_again_byte_for_byte(method: str) -> None:
    context, session = shared_context(), Session("pocket")
    _, path = saved(TokenChoice(0.1), method)
    body = json.loads(open_run(context, session, path).payload)
    assert body["from_file"] is True
    assert Path(save_json(context, session, PageState())).read_bytes() == path.read_bytes()


def test_a_ratio_between_the_slider_s_steps_opens_at_its_own() -> None:
    _, path = saved(TokenChoice(1 / 3))
    body = json.loads(open_run(shared_context(), Session("pocket"), path).payload)
    assert body["keep_ratio"] == 1 / 3 and 1 / 3 in [step["ratio"] for step in body["steps"]]


MORE = AskSettings(
    temperature=20.0, floor=0.4, text_tokens="all", positions="original", max_new_tokens=7, with_full=False
)


@pytest.mark.parametrize(
    ("method", "back"),
    [
        ("adafv", MORE),
        ("t2i", AskSettings(20.0, text_tokens="all", positions="original", max_new_tokens=7, with_full=False)),
        ("divprune", AskSettings(positions="original", max_new_tokens=7, with_full=False)),
    ],
)
def test_opening_brings_the_settings_back(method: str, back: AskSettings) -> None:
    context, session = shared_context(), Session("pocket")
    list(page_stream(context.service, session, question(method=method, more=MORE)))
    assert session.run is not None
    path = save_json(context, session, PageState())
    assert adafv_core.read_run(Path(path).read_text(encoding="utf-8")).max_new_tokens == 7
    other = Session("pocket")
    opened = open_run(context, other, path)
    assert opened.settings == back
    again = Path(save_json(context, other, PageState()))
    assert again.read_bytes() == Path(path).read_bytes()
    picture = context.service.picture(opened.picture_path)
    list(
        page_stream(
            context.service,
            other,
            AskRequest(picture, opened.prompt, opened.method, TokenChoice(0.1), opened.settings),
        )
    )
    assert other.run is not None and other.run.selection is not None and session.run.selection is not None
    assert torch.equal(other.run.selection.indices, session.run.selection.indices)


def test_older_files_say_nothing_of_new_tokens() -> None:
    _, path = saved(TokenChoice(0.1))
    record = json.loads(path.read_text(encoding="utf-8"))
    record.pop("max_new_tokens", None)
    path.write_text(json.dumps(record), encoding="utf-8")
    assert open_run(shared_context(), Session("pocket"), path).settings.max_new_tokens == AskSettings.max_new_tokens
    record["max_new_tokens"] = 99_999
    path.write_text(json.dumps(record), encoding="utf-8")
    assert (
        open_run(shared_context(), Session("pocket"), path).settings.max_new_tokens
        == shared_context().settings.max_new_tokens
    )


def test_an_answer_is_saved_with_its_own_selection_only() -> None:
    context, session = shared_context(), Session("pocket")
    list(page_stream(context.service, session, question(choice=TokenChoice(0.1))))
    place = json.dumps({"keep_ratio": 0.25, "force_keep": [], "force_drop": []})
    there, moved = (
        json.loads(Path(save_json(context, session, read_page_state(at))).read_text("utf-8")) for at in (None, place)
    )
    assert there["answers"]["pruned"]["n_kept"] == there["selection"]["budget"] == 20
    assert there["answers"]["same"] is not None
    assert moved["selection"]["budget"] == 49 and moved["answers"]["full"] == there["answers"]["full"]
    assert [moved["answers"][name] for name in ("pruned", "same", "kl_nats")] == [None] * 3
    opened = Session("pocket")
    open_run(context, opened, save_json(context, session, PageState()))
    assert (
        json.loads(Path(save_json(context, opened, read_page_state(place))).read_text("utf-8"))["answers"]
        == moved["answers"]
    )


def test_a_stopped_answer_is_saved_as_stopped() -> None:
    context, session = shared_context(), Session("pocket")
    list(page_stream(context.service, session, question()))
    assert session.run is not None and session.run.pruned is not None and session.run.full is not None
    session.run.full = replace(session.run.full, finished=False)
    answers = json.loads(Path(save_json(context, session, PageState())).read_text("utf-8"))["answers"]
    assert (answers["pruned"]["state"], answers["full"]["state"], answers["same"]) == ("done", "stopped", None)
    session.run.pruned = replace(session.run.pruned, finished=False)
    answers = json.loads(Path(save_json(context, session, PageState())).read_text("utf-8"))["answers"]
    assert answers["pruned"]["state"] == "stopped" and answers["pruned"]["text"]


@pytest.mark.parametrize(
    ("method", "choice"),
    [("adafv", TokenChoice(0.1, (0, 3), (9,))), ("t2i", TokenChoice(0.05)), ("random", TokenChoice(0.25))],
)
def test_opening_shows_what_was_saved(method: str, choice: TokenChoice) -> None:
    context = shared_context()
    _, path = saved(choice, method)
    other = Session("pocket")
    opened = open_run(context, other, path)
    body = json.loads(opened.payload)
    assert (body["method"], body["keep_ratio"], body["set_choice"]) == (method, choice.keep_ratio, True)
    assert tuple(body["force_keep"]) == choice.force_keep and tuple(body["force_drop"]) == choice.force_drop
    picture = context.service.picture(opened.picture_path).image
    assert picture.size == (672, 672)
    assert opened.prompt == question().prompt


def test_the_picture_is_drawn_at_the_image_s_own_size() -> None:
    session, _ = saved(TokenChoice(0.1))
    with Image.open(save_png(shared_context(), session, PageState())) as sheet:
        assert sheet.width == 2 * 672 + 12


def change(*path: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def apply(record: dict[str, Any]) -> None:
        target = record
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = to

    return apply


DAMAGE = {
    "other format": (change("format", to="x"), "not a saved run"),
    "later version": (change("version", to=9), "version 9"),
    "NaN": (change("scores", "t2i", 0, to=float("nan")), "not JSON"),
    "text for a number": (
        change("scores", "saliency", 3, to="1"),
        r"scores.saliency\[3\]: expected a number",
    ),
    "too short": (change("scores", "t2i", to=[1.0]), r"scores.t2i: expected 196 numbers, got 1"),
    "too many tokens": (
        change("scores", "n_visual", to=10**9),
        "scores.n_visual: expected a whole number of at most",
    ),
    "no words": (change("scores", "words", to=5), r"scores.words: expected a list of 1 to 4000, got 5"),
    "grid": (change("grid", "crops", 0, "rows", to=3), r"grid.crops: expected rows and columns of 196 tokens"),
    "box": (change("grid", "crops", 0, "box", to=[0, 0, 0, 0]), r"grid.crops\[0\].box: expected a box with an area"),
    "method": (change("method", to="<img>"), "method: expected one of full, random"),
    "ratio": (change("keep_ratio", to=0), "keep_ratio"),
    "marks": (
        change("force_keep", to=[9999]),
        r"force_keep\[0\]: expected one of the 196 visual tokens",
    ),
    "picture": (change("picture", to="http://elsewhere/x.png"), "data URL of a PNG, JPEG or WebP file"),
    "no picture": (change("picture", to="data:image/png;base64,AAAA"), "must be a PNG, JPEG or WebP"),
    "option": (change("options", "floor", to=7), "options: floor"),
    "kept": (change("selection", "kept", 0, to=-1), r"selection.kept\[0\]"),
    "kept twice": (change("selection", "kept", 1, to=0), "selection.kept"),
    "why": (
        change("selection", "why", to=[7] * 196),
        r"selection.why\[0\]: expected a whole number of at most 6",
    ),
    "other tokens": (
        change("scores", "t2i", to=[1.0] + [0.0] * 195),
        "not the tokens that its scores give",
    ),
    "answer": (change("answers", "pruned", "text", to=5), "answers.pruned.text: expected text, got 5"),
    "cost": (change("answers", "full", "ttft_s", to="<b>"), "answers.full.ttft_s: expected a number"),
    "running": (change("answers", "full", "state", to="running"), 'expected "done" or "stopped"'),
    "one for true": (change("answers", "same", to=1), "answers.same: expected true or false or null, got 1"),
    "compared with nothing": (change("answers", "pruned", to=None), "does not hold"),
    "nothing to read": (change("scores", "words", to=[]), "scores.words: expected a list of 1 to 4000"),
    "too high": (
        change("scores", "words", 0, "t2i", 0, to=1e300),
        r"words\[0\].t2i\[0\]: expected a number of at most",
    ),
    "endless box": (change("grid", "crops", 0, "box", to=[0, 0, float("inf"), 1]), "not JSON"),
    "huge box": (change("grid", "crops", 0, "box", to=[0, 0, 1e9, 1]), r"crops\[0\].box: expected a box"),
    "another size": (
        change("grid", "image_size", to=[671, 672]),
        "the picture's 672 × 672 pixels, got 671 × 672",
    ),
    "half a character": (change("prompt", to="\ud800"), "not JSON"),
    "model": (change("model", to=None), "model: expected text, got null"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_told_in_a_sentence(name: str, tmp_path: Path) -> None:
    _, path = saved(TokenChoice(0.1))
    record = json.loads(path.read_text(encoding="utf-8"))
    damage, said = DAMAGE[name]
    damage(record)
    broken = tmp_path / "run.json"
    broken.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(AdaFVError, match=said):
        open_run(shared_context(), Session("pocket"), broken)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "[" * 100_000])
def test_what_is_no_json_object(text: str) -> None:
    with pytest.raises(InputError):
        adafv_core.read_run(text)
