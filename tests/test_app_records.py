"""A saved run reads back equal, gives the same kept tokens in the library, and damage is told."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from app_site import question, shared_site
from PIL import Image

import adafv_core
from adafv_core.errors import AdaFVError, InputError
from app.inputs import Choice, More
from app.saving import open_run, save_json, save_png
from app.visits import Visit


def saved(choice: Choice, method: str = "adafv") -> tuple[Visit, Path]:
    visit = Visit("pocket")
    list(shared_site().desk.ask(visit, question(method=method, choice=choice)))
    text = json.dumps(
        {"keep_ratio": choice.keep_ratio, "force_keep": choice.force_keep, "force_drop": choice.force_drop}
    )
    return visit, Path(save_json(shared_site(), visit, text))


def test_a_run_reads_back_equal_and_the_library_keeps_the_same() -> None:
    visit, path = saved(Choice(0.1))
    text = path.read_text(encoding="utf-8")
    record, run = json.loads(text), adafv_core.read_run(text)
    scores = run.scores
    assert visit.run is not None and visit.run.selection is not None
    assert torch.equal(scores.t2i, visit.run.scores.t2i) and torch.equal(scores.saliency, visit.run.scores.saliency)
    assert torch.equal(scores.word_t2i, visit.run.scores.word_t2i) and scores.words == visit.run.scores.words
    assert scores.visual.grid == visit.run.scores.visual.grid
    plain = record["scores"]
    mixed = adafv_core.mix(torch.tensor(plain["t2i"]), torch.tensor(plain["saliency"]), record["selection"]["budget"])
    assert mixed.kept.nonzero()[:, 0].tolist() == record["selection"]["kept"]
    assert mixed.mixed.tolist() == pytest.approx(record["selection"]["mixed"], rel=1e-6)
    for name in ("indices", "kept", "mixed", "why"):
        assert torch.equal(getattr(run.selection, name), getattr(visit.run.selection, name))
    again = adafv_core.get_method(run.method).select(scores, run.selection.budget)
    assert torch.equal(again.indices, run.selection.indices)
    assert run.answers["pruned"]["text"] and run.versions["torch"] and run.model == "pocket"
    assert Image.open(io.BytesIO(run.picture)).size == (672, 672)


@pytest.mark.parametrize("more", [More(temperature=20.0), More(text_tokens="all"), More(floor=0.25)])
def test_the_options_of_a_run_come_back(more: More) -> None:
    visit = Visit("pocket")
    list(shared_site().desk.ask(visit, question(more=replace(more, max_new_tokens=4))))
    run = adafv_core.read_run(Path(save_json(shared_site(), visit, None)).read_text(encoding="utf-8"))
    assert visit.run is not None and visit.run.selection is not None
    assert torch.equal(run.selection.indices, visit.run.selection.indices)
    again = adafv_core.get_method("adafv", **run.options).select(run.scores, run.selection.budget)
    assert torch.equal(again.indices, run.selection.indices)
    assert torch.equal(run.scores.word_t2i[run.scores.counted].amax(0), run.scores.t2i)


def test_what_was_opened_is_what_is_saved_again() -> None:
    site = shared_site()
    _, path = saved(Choice(0.1, (0,), (9,)))
    first = json.loads(path.read_text(encoding="utf-8"))
    first.update(model="somebody/else", revision="abc", versions={**first["versions"], "torch": "1.0"})
    path.write_text(json.dumps(first), encoding="utf-8")
    visit = Visit("pocket")
    list(site.desk.ask(visit, question(index=7)))
    open_run(site, visit, path)
    same = json.dumps({name: first[name] for name in ("keep_ratio", "force_keep", "force_drop")})
    assert json.loads(Path(save_json(site, visit, same)).read_text(encoding="utf-8")) == first
    moved = json.loads(Path(save_json(site, visit, None)).read_text(encoding="utf-8"))
    assert moved["model"] == "somebody/else" and moved["force_keep"] == []
    assert adafv_core.read_run(json.dumps(moved)).selection.size == 20


@pytest.mark.parametrize("method", ["divprune", "visionzip", "vispruner", "fastv"])
def test_methods_that_read_features_ask_to_be_asked_anew(method: str) -> None:
    _, path = saved(Choice(0.25), method)
    visit = Visit("pocket")
    with pytest.raises(InputError, match=f"made with {method}"):
        open_run(shared_site(), visit, path)
    assert visit.run is None
    assert adafv_core.read_run(path.read_text(encoding="utf-8")).method == method


@pytest.mark.parametrize(
    ("method", "choice"), [("adafv", Choice(0.1, (0, 3), (9,))), ("t2i", Choice(0.05)), ("random", Choice(0.25))]
)
def test_opening_shows_what_was_saved(method: str, choice: Choice) -> None:
    site = shared_site()
    _, path = saved(choice, method)
    other = Visit("pocket")
    opened = open_run(site, other, path)
    body = json.loads(opened.payload)
    assert (body["method"], body["keep_ratio"], body["set_choice"]) == (method, choice.keep_ratio, True)
    assert tuple(body["force_keep"]) == choice.force_keep and tuple(body["force_drop"]) == choice.force_drop
    picture, _ = site.desk.picture(opened.picture_path)
    assert picture.size == (672, 672)
    assert opened.prompt == question().prompt


def test_the_picture_is_drawn_at_the_image_s_own_size() -> None:
    visit, _ = saved(Choice(0.1))
    with Image.open(save_png(shared_site(), visit, None)) as sheet:
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
    "NaN": (change("scores", "t2i", 0, to=float("nan")), "196 numbers"),
    "text for a number": (change("scores", "saliency", 3, to="1"), "196 numbers"),
    "too short": (change("scores", "t2i", to=[1.0]), "196 numbers"),
    "too many tokens": (change("scores", "n_visual", to=10**9), "visual tokens"),
    "no words": (change("scores", "words", to=5), "damaged"),
    "grid": (change("grid", "crops", 0, "rows", to=3), "tokens"),
    "box": (change("grid", "crops", 0, "box", to=[0, 0, 0, 0]), "no area"),
    "method": (change("method", to="<img>"), "no method"),
    "ratio": (change("keep_ratio", to=0), "keep_ratio"),
    "marks": (change("force_keep", to=[9999]), "9999"),
    "picture": (change("picture", to="http://elsewhere/x.png"), "not a PNG"),
    "no picture": (change("picture", to="data:image/png;base64,AAAA"), "not a picture"),
    "option": (change("options", "floor", to=7), "floor"),
    "kept": (change("selection", "kept", 0, to=-1), "selection"),
    "kept twice": (change("selection", "kept", 1, to=0), "why it was kept"),
    "why": (change("selection", "why", to=[7] * 196), "why it was kept"),
    "other tokens": (change("scores", "t2i", to=[1.0] + [0.0] * 195), "not those that its scores give"),
    "answer": (change("answers", "pruned", "text", to=5), "answer"),
    "cost": (change("answers", "full", "ttft_s", to="<b>"), "numbers"),
    "model": (change("model", to=None), "model"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_told_in_a_sentence(name: str, tmp_path: Path) -> None:
    _, path = saved(Choice(0.1))
    record = json.loads(path.read_text(encoding="utf-8"))
    damage, said = DAMAGE[name]
    damage(record)
    broken = tmp_path / "run.json"
    broken.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(AdaFVError, match=said):
        open_run(shared_site(), Visit("pocket"), broken)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "[" * 100_000])
def test_what_is_no_json_object(text: str) -> None:
    with pytest.raises(InputError):
        adafv_core.read_run(text)
