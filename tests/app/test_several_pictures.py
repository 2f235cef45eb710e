"""Several pictures in one question: through the endpoints and for the page, as the library selects and answers."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from helpers.app_context import QUESTION, question, scene_path, shared_address, shared_context
from PIL import Image

import adafv_core
from adafv_core.engine.backend import Backend
from adafv_core.engine.request import Request
from adafv_core.engine.several_images import joined_scores
from adafv_core.errors import BudgetError, InputError
from adafv_core.images import read_picture
from adafv_core.methods import METHODS
from app.saved_runs.save_and_open import open_run, save_json
from app.serving.ask import AskRequest
from app.serving.page_stream import FOREIGN, SEVERAL, page_stream
from app.serving.sessions import Session
from app.wire.parse import AskSettings, PageState, TokenChoice

SCENES = (3, 11, 7)
SHARES = ("image", "all")


@cache
def client() -> Client:
    return Client(shared_address(), verbose=False)


def engine() -> Backend:
    return shared_context().service.pool.engine("pocket")


def images() -> list[Image.Image]:
    return [Image.open(scene_path(index)).convert("RGB") for index in SCENES]


def asked(name: str, **values: Any) -> Any:
    first, *more = [handle_file(scene_path(index)) for index in SCENES]
    return client().predict(**{"image": first, "prompt": QUESTION, "more_images": more, **values}, api_name=name)


def several(method: str = "adafv", **changed: Any) -> AskRequest:
    """The question of these tests as the page asks it."""
    asks = question(method=method, index=SCENES[0], more=replace(AskSettings(max_new_tokens=2), **changed))
    return replace(asks, more=tuple(read_picture(image) for image in images()[1:]))


@pytest.mark.parametrize("share", SHARES)
def test_an_answer_is_the_librarys(share: str) -> None:
    told = asked("/ask", share=share, max_new_tokens=4)
    answer = engine().answer(images(), QUESTION, 0.1, max_new_tokens=4, share=share)
    full = engine().answer(images(), QUESTION, 1.0, "full", max_new_tokens=4)
    assert (told["answer"], told["full_answer"], told["share"]) == (answer.text, full.text, share)
    assert (told["n_kept"], told["n_visual"], told["full"]["n_kept"]) == (answer.n_kept, 3 * 196, 3 * 196)
    assert told["images"] == [{"n_visual": 196, "n_kept": one.size} for one in answer.selections]
    assert told["kv_cache_bytes"] == answer.kv_cache_bytes


@pytest.mark.parametrize("share", SHARES)
def test_scores_are_those_that_the_library_ranks_by(share: str) -> None:
    options = {"temperature": 40.0, "text_tokens": "all", "floor": 0.25}
    told = asked("/scores", share=share, keep_ratio=0.2, **options)
    scores = engine().score_many(images(), QUESTION)
    chosen = engine().select_many(scores, 0.2, "adafv", share=share, **options)
    views = [told, *told["more_images"]]
    for view, selection in zip(views, chosen, strict=True):
        assert view["kept"] == selection.kept.tolist() and view["why"] == selection.why.tolist()
        assert view["mixed"] == pytest.approx(selection.mixed.tolist())
    if share == "all":
        saliency = joined_scores(scores).saliency
        assert [value for view in views for value in view["saliency"]] == pytest.approx(saliency.tolist())
        assert sum(sum(view["t2i"]) for view in views) < sum(sum(one.t2i.tolist()) for one in scores)
    else:
        assert [view["saliency"] for view in views] == [one.saliency.tolist() for one in scores]


def test_a_sweep_and_the_overlays_take_them_too() -> None:
    told = asked("/sweep", methods=["adafv", "fastv"], keep_ratios=[0.1], max_new_tokens=1, share="all")
    full, pruned, inside = told["rows"]
    assert (full["n_visual"], pruned["n_kept"]) == (588, 59) and 'use share="image"' in inside["error"]
    alone = Image.open(client().predict(handle_file(scene_path(SCENES[0])), QUESTION, api_name="/overlays"))
    stacked = Image.open(asked("/overlays"))
    assert stacked.width == alone.width and stacked.height > 3 * alone.height
    assert stacked.crop((0, 0, *alone.size)).tobytes() == alone.tobytes()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"share": "both"}, "share must be image or all; got 'both'."),
        ({"share": "all", "method": "fastv"}, 'fastv selects inside the LLM, from each image alone: use share="image"'),
        ({"force_keep": [1]}, "force_keep names visual tokens of one image; the prompt has 3"),
        ({"more_images": [handle_file(scene_path())] * 4}, "A question takes at most 4 pictures; got 5."),
    ],
)
def test_what_is_not_defined_is_refused_in_a_sentence(values: dict[str, Any], said: str) -> None:
    with pytest.raises(AppError) as raised:
        asked("/ask", **values)
    assert said in str(raised.value).replace("&quot;", '"') and "Traceback" not in str(raised.value)


@pytest.mark.parametrize("value", ["/etc/passwd", [5], ["/etc/passwd"], [{"path": "/etc/passwd"}], 3, {"a": 1}])
def test_only_pictures_that_were_sent_are_read(value: Any) -> None:
    with pytest.raises(AppError) as raised:
        asked("/scores", more_images=value)
    text = str(raised.value)
    assert "root:" not in text and "Traceback" not in text and text.endswith(".")


def test_every_picture_has_the_limits_of_the_first(tmp_path: Path) -> None:
    limit = shared_context().settings.max_image_bytes
    (tmp_path / "large.png").write_bytes(scene_path().read_bytes().ljust(limit + 1, b"0"))
    (tmp_path / "no.png").write_bytes(b"no picture")
    for name, said in (("large.png", "at most 21.0 MB are taken"), ("no.png", "not a picture that can be read")):
        with pytest.raises(AppError, match=said):
            asked("/ask", more_images=[handle_file(tmp_path / name)])


def test_pictures_as_data_urls_as_mcp_callers_send_them() -> None:
    data = "data:image/png;base64," + base64.b64encode(scene_path(SCENES[1]).read_bytes()).decode()
    told = asked("/ask", more_images=[data], max_new_tokens=1)
    one = asked("/ask", more_images=[handle_file(scene_path(SCENES[1]))], max_new_tokens=1)
    assert told["images"] == one["images"] and len(told["images"]) == 2
    with pytest.raises(AppError, match="not its address"):
        asked("/ask", more_images=["http://127.0.0.1:9/gradio_api/file=/etc/passwd"])


def test_a_new_prompt_does_not_encode_again() -> None:
    service, session = shared_context().service, Session("pocket")
    service.selected(session, several())
    visuals = [one.visual for one in (session.scores, *session.more_scores) if one is not None]
    service.selected(session, replace(several(), prompt="How many stars are there?"))
    again = [one.visual for one in (session.scores, *session.more_scores) if one is not None]
    assert len(again) == 3 and all(one is other for one, other in zip(visuals, again, strict=True))
    service.selected(session, question(index=SCENES[0]))
    assert session.more_scores == ()


def bodies(request: AskRequest) -> tuple[dict[str, Any], dict[str, Any], str]:
    """The payload, the last answers and the first notice that the page is sent."""
    updates = list(page_stream(shared_context().service, Session("pocket"), request))
    return json.loads(updates[0].payload or "{}"), json.loads(updates[-1].answers), updates[0].notice or ""


def test_the_page_is_sent_a_body_for_each_picture_or_one_for_all() -> None:
    each, answers, notice = bodies(several())
    assert [each["n"], *(one["n"] for one in each["images"])] == [196] * 3 and each["share"] == "image"
    assert all(one["path_text"] and one["picture"].startswith("data:") for one in each["images"])
    assert answers["pruned"]["n_kept"] == 60 and each["view"]["scene"] == SCENES[0]
    assert (each["view"]["more_scenes"], each["view"]["share"]) == ("11,7", "image") and SEVERAL.split(",")[0] in notice
    together, answers, _ = bodies(several(share="all"))
    assert together["n"] == 588 and [one["n"] for one in together["images"]] == [196] * 3
    assert answers["pruned"]["n_kept"] == 59 and "path_text" not in together["images"][0]
    assert len({each["key"], together["key"], bodies(question(index=SCENES[0]))[0]["key"]}) == 3


def test_a_picture_from_elsewhere_among_them_is_noticed() -> None:
    other = read_picture(Image.new("RGB", (64, 64), "red"))
    assert FOREIGN.split(":")[0] in bodies(replace(several(), more=(other,)))[2]


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("method", ["adafv", "visionzip", "scope", "fastv", "pyramiddrop", "adav_authors"])
def test_each_kind_of_method_shows_its_selections_or_says_why_not(method: str, share: str) -> None:
    service, session = shared_context().service, Session("pocket")
    request = several(method, share=share, with_full=False)
    updates = list(page_stream(service, session, request))
    body, answers = json.loads(updates[0].payload or "{}"), json.loads(updates[-1].answers)
    if share == "all" and (METHODS[method].inside_llm or method == "adav_authors"):
        said = "budget shared by images" if method == "adav_authors" else 'use share="image"'
        assert not body and said in answers["pruned"]["error"]
        return
    assert session.run is not None and len(session.run.selections) == 3, answers
    expected = engine().select_many(session.run.all_scores, Request(method, keep_ratio=0.1, share=share))
    for mine, its in zip(session.run.selections, expected, strict=True):
        assert torch.equal(mine.kept, its.kept)
    step = min(range(len(body["steps"])), key=lambda at: abs(body["steps"][at]["ratio"] - 0.1))
    if body["rule"] == "table":
        tables = [body, *body["images"]] if share == "image" else [body]
        why = [nibbles(one["tables"][step], one["n"]) for one in tables]
        wanted = [one.why for one in expected]
        assert torch.equal(torch.cat(why), torch.cat(wanted).long())


def nibbles(text: str, n: int) -> torch.Tensor:
    data = torch.tensor(list(base64.b64decode(text)))
    return torch.stack((data & 15, data >> 4), 1).flatten()[:n]


def test_marks_on_one_picture_are_not_those_of_several() -> None:
    service, session = shared_context().service, Session("pocket")
    alone = replace(question(index=SCENES[0]), choice=TokenChoice(0.1, (5,), subject="another"))
    updates = list(page_stream(service, session, replace(several(), choice=alone.choice)))
    assert session.run is not None and json.loads(updates[-1].answers)["pruned"]["n_kept"] == 60


def test_the_endpoint_for_runs_holds_every_picture() -> None:
    path = asked("/run", share="all", max_new_tokens=2)
    run = adafv_core.read_run(Path(path).read_bytes())
    told = asked("/ask", share="all", max_new_tokens=2)
    assert (run.share, run.answers["pruned"]["text"]) == ("all", told["answer"])
    assert [one.selection.size for one in run.images] == [one["n_kept"] for one in told["images"]]
    picture, values = client().predict(handle_file(path), api_name="/read_run")
    views = asked("/scores", share="all")["more_images"]
    for mine, its, path_of in zip(values["more_images"], views, SCENES[1:], strict=True):
        assert mine["kept"] == its["kept"] and mine["t2i"] == pytest.approx(its["t2i"])
        sent = Image.open(io.BytesIO(base64.b64decode(mine["picture"].partition(",")[2])))
        assert sent.tobytes() == Image.open(scene_path(path_of)).convert("RGB").tobytes()
    assert Image.open(picture).size == (672, 672) and values["share"] == "all"


@cache
def saved(method: str, share: str) -> tuple[Session, Path]:
    """A session that asked about the pictures, and the run saved from it."""
    session = Session("pocket")
    list(page_stream(shared_context().service, session, several(method, share=share)))
    return session, Path(save_json(shared_context(), session, PageState(TokenChoice(0.1))))


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("method", ["adafv", "saliency", "visionzip"])
def test_an_opened_run_shows_what_was_saved(method: str, share: str, tmp_path: Path) -> None:
    session, path = saved(method, share)
    context, other = shared_context(), Session("pocket")
    opened = open_run(context, other, path)
    assert session.run is not None and other.run is not None and opened.settings.share == share
    for mine, its in zip(other.run.selections, session.run.selections, strict=True):
        assert torch.equal(mine.kept, its.kept) and torch.equal(mine.mixed, its.mixed)
    assert [Image.open(one).tobytes() for one in opened.more_paths] == [one.tobytes() for one in images()[1:]]
    again = json.loads(Path(save_json(context, other, PageState(TokenChoice(0.1)))).read_text(encoding="utf-8"))
    assert again == json.loads(path.read_text(encoding="utf-8"))
    body, asks = json.loads(opened.payload), bodies(several(method, share=share))[0]
    assert [one["n"] for one in body["images"]] == [one["n"] for one in asks["images"]]
    if method == "adafv":
        assert body["path_text"] == asks["path_text"] and body["t2i"] == asks["t2i"]
    if method == "visionzip":
        assert sum("problem" not in step for step in body["steps"]) >= 1
        with pytest.raises(BudgetError, match="its own keep ratio only"):
            save_json(context, other, PageState(TokenChoice(0.5)))


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("more_images", 1, "selection", "kept"), [0], r"more_images\[1\].selection.why"),
        (("more_images", 0, "scores", "t2i"), [1.0] + [0.0] * 195, r"more_images\[0\].selection.kept: these are not"),
        (("more_images", 0, "grid", "image_size"), [671, 672], r"more_images\[0\].grid.image_size: expected the pict"),
        (("more_images",), [], r"selection.k_|selection.kept: these are not|selection.budget"),
    ],
)
def test_a_damaged_run_about_several_pictures_is_refused(
    place: tuple[Any, ...], value: Any, said: str, tmp_path: Path
) -> None:
    record = json.loads(saved("adafv", "image" if len(place) > 1 else "all")[1].read_text(encoding="utf-8"))
    target = record
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = value
    (tmp_path / "run.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(InputError, match=said):
        open_run(shared_context(), Session("pocket"), tmp_path / "run.json")
