"""Each endpoint through a real client gives what the library gives; and a session's model and stop are its own."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from helpers.app_context import MISSING, QUESTION, free_port, scene_path, serve, shared_address, shared_context
from helpers.tiny_models import save_tiny
from PIL import Image, ImageChops

import adafv_core
from adafv_core.loading.known_models import KNOWN_MODELS
from adafv_core.scoring import rescored
from app.saved_runs.save_and_open import save_png
from app.serving.models import may_load
from app.serving.sessions import Run, Session
from app.settings import Settings, read_settings
from app.wire.parse import METHOD_OPTIONS, PageState, read_page_state

KEEP, DROP = [3, 7, 100], [20, 21]
OPTIONS: dict[str, Any] = {"temperature": 40.0, "floor": 0.25, "text_tokens": "all", "positions": "original"}


@cache
def client() -> Client:
    return Client(shared_address(), verbose=False)


def mask(indices: list[int]) -> torch.Tensor:
    chosen = torch.zeros(196, dtype=torch.bool)
    chosen[indices] = True
    return chosen


@cache
def from_the_library() -> tuple[adafv_core.TokenScores, adafv_core.Selection]:
    """The scores and the selection that the calls below ask for."""
    engine = shared_context().service.pool.engine("pocket")
    scores = engine.score(Image.open(scene_path()).convert("RGB"), QUESTION)
    chosen = engine.select(scores, 0.1, "adafv", **OPTIONS, force_keep=mask(KEEP), force_drop=mask(DROP))
    return rescored(scores, OPTIONS["temperature"], OPTIONS["text_tokens"]), chosen


def asked(name: str, **more: Any) -> Any:
    return client().predict(
        handle_file(scene_path()),
        QUESTION,
        0.1,
        "adafv",
        **OPTIONS,
        force_keep=KEEP,
        force_drop=DROP,
        **more,
        api_name=name,
    )


def test_scores_with_every_option_are_the_librarys() -> None:
    told = asked("/scores")
    scores, chosen = from_the_library()
    assert told["t2i"] == pytest.approx(scores.t2i.tolist()) and told["saliency"] == scores.saliency.tolist()
    assert told["kept"] == chosen.kept.tolist() and told["why"] == chosen.why.tolist()
    assert told["mixed"] == pytest.approx(chosen.mixed.tolist())
    assert (told["k_text"], told["k_visual"], told["n_kept"]) == (chosen.k_text, chosen.k_visual, chosen.size)
    assert all(told["kept"][token] for token in KEEP) and not any(told["kept"][token] for token in DROP)


def test_an_answer_with_every_option_is_the_librarys() -> None:
    told = asked("/ask", max_new_tokens=8)
    chosen = from_the_library()[1]
    engine = shared_context().service.pool.engine("pocket")
    picture = Image.open(scene_path()).convert("RGB")
    options = {**OPTIONS, "force_keep": mask(KEEP), "force_drop": mask(DROP)}
    *_, pruned = engine.stream(picture, QUESTION, 0.1, max_new_tokens=8, **options)
    *_, full = engine.stream(picture, QUESTION, 1.0, "full", max_new_tokens=8)
    assert (told["answer"], told["full_answer"]) == (pruned.text, full.text)
    assert (told["n_kept"], told["k_text"], told["k_visual"]) == (chosen.size, chosen.k_text, chosen.k_visual)
    assert told["options"] == OPTIONS and told["kv_cache_bytes"] == pruned.kv_cache_bytes


def test_overlays_are_the_picture_that_the_page_saves() -> None:
    drawn = Image.open(asked("/overlays")).convert("RGB")
    scores = shared_context().service.pool.engine("pocket").score(Image.open(scene_path()).convert("RGB"), QUESTION)
    options = {name: OPTIONS[name] for name in METHOD_OPTIONS}
    run = Run(Image.open(scene_path()).convert("RGB"), scores, QUESTION, "adafv", options, "pocket")
    keep = f'{{"keep_ratio": 0.1, "force_keep": {KEEP}, "force_drop": {DROP}}}'
    page = Image.open(save_png(shared_context(), Session("pocket", run=run), read_page_state(keep))).convert("RGB")
    assert ImageChops.difference(drawn, page).getbbox() is None
    plain = Image.open(client().predict(handle_file(scene_path()), QUESTION, api_name="/overlays")).convert("RGB")
    assert ImageChops.difference(drawn, plain).getbbox() is not None


def test_a_run_is_read_by_the_library_and_by_the_endpoint(tmp_path: Path) -> None:
    path = asked("/run", max_new_tokens=8)
    told, chosen = asked("/ask", max_new_tokens=8), from_the_library()[1]
    run = adafv_core.read_run(Path(path).read_text(encoding="utf-8"))
    assert torch.equal(run.selection.indices, chosen.indices) and run.selection.positions == "original"
    assert {**run.options, "positions": run.selection.positions} == OPTIONS
    assert (run.force_keep, run.force_drop, run.keep_ratio) == (tuple(KEEP), tuple(DROP), 0.1)
    assert (run.answers["pruned"]["text"], run.answers["full"]["text"]) == (told["answer"], told["full_answer"])
    with_mark = tmp_path / "with-mark.json"
    with_mark.write_bytes(b"\xef\xbb\xbf" + Path(path).read_bytes())
    picture, values = client().predict(handle_file(with_mark), api_name="/read_run")
    assert values["kept"] == chosen.kept.tolist() and values["t2i"] == run.scores.t2i.tolist()
    assert values["answers"] == run.answers and (values["prompt"], values["max_new_tokens"]) == (QUESTION, 8)
    assert (values["force_keep"], values["force_drop"], values["options"]) == (KEEP, DROP, OPTIONS)
    assert [word["text"] for word in values["words"]] == list(run.scores.words)
    assert Image.open(picture).size == Image.open(scene_path()).size


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no JSON", "not JSON"),
        ("{}", "not a saved run"),
        ('{"format": "adafv-run", "version": "<b>"}', "file version '&lt;b&gt;'"),
    ],
)
def test_a_file_that_is_no_run_is_told(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "run.json").write_text(text, encoding="utf-8")
    with pytest.raises(AppError, match=said):
        client().predict(handle_file(tmp_path / "run.json"), api_name="/read_run")


def test_a_sweep_takes_the_settings_of_the_page() -> None:
    picture = handle_file(scene_path())
    settings = {"text_tokens": "all", "temperature": 5.0, "max_new_tokens": 1}
    told = client().predict(picture, QUESTION, ["adafv"], [0.05], **settings, api_name="/sweep")
    alone = client().predict(picture, QUESTION, 0.05, "adafv", **settings, api_name="/ask")
    row = told["rows"][1]
    assert (row["answer"], row["n_kept"]) == (alone["answer"], alone["n_kept"])
    assert row["kl_nats"] == pytest.approx(alone["kl_nats"], rel=1e-4, abs=1e-6)


@pytest.mark.local
def test_the_models_are_listed() -> None:
    told = client().predict(api_name="/models")
    first, *others = told["models"]
    assert told["answers"] == first["name"] == "pocket" and first["loaded"] and first["answers"]
    assert sorted(one["name"] for one in others) == sorted(known.model_id for known in KNOWN_MODELS)
    assert [one["fits"] for one in others] == sorted((one["fits"] for one in others), reverse=True)
    assert all(one["needed_bytes"] > one["download_bytes"] for one in others)
    assert all(one["download_bytes"] > 0 and one["license"] and not one["answers"] for one in others)


@cache
def tiny_folder() -> str:
    return str(save_tiny("llava", Path(tempfile.mkdtemp(prefix="adafv-tiny-"))))


@pytest.mark.local
def test_a_model_is_loaded_for_one_session_alone() -> None:
    mine, other = (Client(shared_address(), verbose=False) for _ in range(2))
    told = mine.predict(tiny_folder(), api_name="/load_model")
    assert told["answers"] == tiny_folder() and [m["name"] for m in told["models"] if m["answers"]] == [tiny_folder()]
    answered = mine.predict(handle_file(scene_path()), QUESTION, max_new_tokens=2, api_name="/ask")
    assert answered["model"] == tiny_folder()
    assert other.predict(api_name="/models")["answers"] == "pocket"
    assert tiny_folder() not in [one["name"] for one in other.predict(api_name="/models")["models"]]
    assert mine.predict("pocket", api_name="/load_model")["answers"] == "pocket"


@pytest.mark.local
def test_a_family_with_position_ids_of_its_own_answers_by_default(tmp_path: Path) -> None:
    """Qwen2-VL has no contiguous ones: what was asked for is either done or refused, never something else."""
    mine, folder = Client(shared_address(), verbose=False), str(save_tiny("qwen2_vl", tmp_path))
    assert mine.predict(folder, api_name="/load_model")["answers"] == folder
    answered = mine.predict(handle_file(scene_path()), QUESTION, max_new_tokens=2, api_name="/ask")
    original = mine.predict(
        handle_file(scene_path()), QUESTION, positions="original", max_new_tokens=2, api_name="/ask"
    )
    assert answered["model"] == folder and answered["answer"] == original["answer"]
    assert answered["options"]["positions"] == "default"
    with pytest.raises(AppError, match="positions='contiguous' is not defined for it"):
        mine.predict(handle_file(scene_path()), QUESTION, positions="contiguous", max_new_tokens=2, api_name="/ask")
    assert mine.predict("pocket", api_name="/load_model")["answers"] == "pocket"


@pytest.mark.local
def test_a_model_that_cannot_be_loaded_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str, report: Any) -> Any:
        raise RuntimeError("secret")

    monkeypatch.setattr(shared_context().service.pool, "_make", broken)
    with pytest.raises(AppError) as raised:
        client().predict(MISSING, api_name="/load_model")
    assert str(raised.value) == f"{MISSING} could not be loaded (RuntimeError). pocket answers as before."
    assert client().predict(api_name="/models")["answers"] == "pocket"


@pytest.mark.local
def test_users_load_only_what_is_known_or_listed_and_learn_nothing_of_the_disk() -> None:
    nothing = Settings(port=free_port())
    address = serve(replace(shared_context(), settings=nothing))[1]
    caller, said = Client(address, verbose=False), set()
    for name in (tiny_folder(), "/nothing/here", "/etc", "../..", "~", "app/static", "nobody/nothing", "pocket/../app"):
        with pytest.raises(AppError) as raised:
            caller.predict(name, api_name="/load_model")
        said.add(str(raised.value).partition(" is not ")[2])
    assert len(said) == 1 and said.pop().startswith("among the models that can be loaded here: /models lists them")
    assert caller.predict("pocket", api_name="/load_model")["answers"] == "pocket"
    folder = Path(tiny_folder())
    listed = replace(nothing, models=f"hub, me/mine, {folder.parent}")
    for name in (str(folder), "me/mine", "any/other", KNOWN_MODELS[0].model_id):
        assert may_load(name, listed)
    for name in (f"{folder.parent}/../etc", "/etc", "app/static", "hub"):
        assert not may_load(name, listed)
    assert may_load(KNOWN_MODELS[0].model_id, nothing) and not may_load("me/mine", nothing)
    session = replace(shared_context().service, settings=nothing).session("stranger", PageState(model="/etc"))
    assert session.model == "pocket"
    assert not read_settings([], {"GRADIO_SERVER_NAME": "0.0.0.0"}).model_menu and read_settings([], {}).model_menu


def test_settings_that_allow_less() -> None:
    less = {"model_menu": False, "max_new_tokens": 3, "port": free_port()}
    context = replace(shared_context(), settings=replace(shared_context().settings, **less))
    caller = Client(serve(context)[1], verbose=False)
    assert [one["name"] for one in caller.predict(api_name="/models")["models"]] == ["pocket"]
    with pytest.raises(AppError, match="Other models cannot be loaded on this page: pocket answers every question"):
        caller.predict(tiny_folder(), api_name="/load_model")
    assert caller.predict(handle_file(scene_path()), QUESTION, api_name="/ask")["n_kept"] == 20
    assert caller.predict(handle_file(scene_path()), QUESTION, ["t2i"], [0.1], api_name="/sweep")["complete"]


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_stop_ends_the_sessions_sweep_and_no_other() -> None:
    other = Client(shared_address(), verbose=False)
    mine = Client(shared_address(), verbose=False)
    ratios = [index / 100 for index in range(1, 31)]
    job = mine.submit(handle_file(scene_path()), QUESTION, ["adafv", "t2i"], ratios, api_name="/sweep")
    session = shared_context().service.sessions.of(mine.session_hash)
    wait_until(lambda: session.scores is not None)
    assert other.predict(api_name="/stop") == {"stopped": True} and not session.asking.stop.is_set()
    assert mine.predict(api_name="/stop") == {"stopped": True}
    told = job.result(timeout=60)
    assert told["complete"] is False and 0 < len(told["rows"]) < 61


def test_stop_ends_the_sessions_study() -> None:
    mine = Client(shared_address(), verbose=False)
    job = mine.submit(["saliency", "adafv"], [0.1, 0.2], 50, api_name="/study")
    studying = shared_context().service.sessions.of(mine.session_hash).studying
    first = studying.stop
    wait_until(lambda: studying.stop is not first)
    mine.predict(api_name="/stop")
    told = job.result(timeout=60)
    assert told is None or told["answers"] < 331 * 5
