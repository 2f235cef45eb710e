"""A saved run reads back equal, gives the same kept tokens in the library, and damage is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from app_site import question, shared_site

import adafv_core
from adafv_core.errors import AdaFVError, InputError
from app.inputs import Choice
from app.records import read_record, scores_of
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
    record = read_record(path.read_text(encoding="utf-8"))
    scores = scores_of(record)
    assert visit.run is not None
    assert torch.equal(scores.t2i, visit.run.scores.t2i) and torch.equal(scores.saliency, visit.run.scores.saliency)
    assert torch.equal(scores.word_t2i, visit.run.scores.word_t2i) and scores.words == visit.run.scores.words
    assert scores.visual.grid == visit.run.scores.visual.grid
    plain = record["scores"]
    mixed = adafv_core.mix(torch.tensor(plain["t2i"]), torch.tensor(plain["saliency"]), record["selection"]["budget"])
    assert mixed.kept.nonzero()[:, 0].tolist() == record["selection"]["kept"]
    assert mixed.mixed.tolist() == pytest.approx(record["selection"]["mixed"], rel=1e-6)
    assert record["answers"]["pruned"]["text"] and record["versions"]["torch"] and record["model"] == "pocket"


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
    from PIL import Image

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
        read_record(text)
