"""`adafv check`: yes on a model that was trained for it, no on random ones, and what its numbers mean."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from helpers.models_shared import engine_of, folder_of
from hypothesis import given
from hypothesis import strategies as st

from adafv_core import cli
from adafv_core.engine import load
from adafv_core.errors import InputError
from adafv_core.study.check import LEAST_QUESTIONS, AlignmentCheck, check_alignment, top_share
from adafv_core.study.data.pocket import PocketSet
from adafv_core.study.measure.intervals import Interval

SCENES = PocketSet("validation", 16)


def test_the_pocket_model_passes() -> None:
    found = check_alignment(load("pocket", device="cpu"), SCENES)
    assert found.verdict == "yes"
    assert found.auc_t2i.low > 0.95 and found.top_share.low > 0.25
    # Its objects stand out whatever is asked: only the gap shows what the words do.
    assert found.auc_other.low > 0.6 and found.auc_other.high < found.auc_t2i.low and found.gap.low > 0.1
    assert found.pictures == 16 and found.questions > 60 and found.n_visual == 196
    assert found.sentence() == (
        "AdaFV can be expected to work on pocket: the words of a question point at the tokens of what they name, and "
        "saliency ([CLS] attention) is concentrated on few tokens."
    )


@pytest.mark.parametrize("family", ["llava_next_vicuna", "qwen2_5_vl", "smolvlm"])
def test_a_random_model_does_not(family: str) -> None:
    found = check_alignment(engine_of(family), SCENES)
    assert found.verdict == "no" and found.alignment == "none"
    assert found.sentence().startswith(f"AdaFV cannot be expected to work on {folder_of(family)}: the words of")


def test_tokens_that_stand_out_whatever_is_asked_are_not_alignment() -> None:
    """The pocket model asked with all words of all questions alike: object tokens still win, by no merit of words."""
    engine = load("pocket", device="cpu")
    weight = engine.model.get_input_embeddings().weight
    with torch.no_grad():
        weight.copy_(weight[engine.tokenizer.convert_tokens_to_ids("ring")].expand_as(weight).clone())
    found = check_alignment(engine, SCENES)
    assert found.gap.value == pytest.approx(0, abs=1e-6) and found.verdict == "no"


def made(**changes: object) -> AlignmentCheck:
    wide = Interval(0.9, 0.85, 0.95)
    values: dict[str, object] = {
        "model": "m",
        "model_class": "M",
        "data": "d",
        "saliency_source": "attention received",
        "n_visual": 9,
        "pictures": 9,
        "questions": 90,
        "seconds": 1.0,
        "auc_t2i": wide,
        "auc_other": Interval(0.5, 0.45, 0.55),
        "gap": Interval(0.4, 0.3, 0.5),
        "auc_saliency": wide,
        "top_share": Interval(0.4, 0.35, 0.45),
    }
    return AlignmentCheck(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "verdict", "words"),
    [
        ({}, "yes", "point at the tokens of what they name, and saliency (attention received) is concentrated"),
        ({"top_share": Interval(0.15, 0.14, 0.16)}, "partly", "but saliency (attention received) is spread"),
        ({"auc_t2i": Interval(0.62, 0.58, 0.66)}, "partly", "only weakly"),
        ({"auc_t2i": Interval(0.52, 0.49, 0.56)}, "no", "do not point"),
        ({"gap": Interval(0.02, -0.01, 0.06)}, "no", "no better than other words|better than other words"),
        ({"gap": Interval(math.nan, math.nan, math.nan)}, "no", "do not point"),
        ({"questions": LEAST_QUESTIONS - 1}, "unknown", "at least 20 are needed"),
    ],
)
def test_the_verdict_follows_from_the_intervals(changes: dict[str, object], verdict: str, words: str) -> None:
    found = made(**changes)
    assert found.verdict == verdict
    assert any(one in found.sentence() for one in words.split("|"))
    assert found.sentence() in found.text()


def test_it_ends_in_time() -> None:
    found = check_alignment(engine_of("llava"), SCENES, seconds=1e-6)
    assert found.pictures == 1 and found.verdict == "unknown"
    with pytest.raises(InputError, match="seconds must be above 0"):
        check_alignment(engine_of("llava"), SCENES, seconds=0)


@given(values=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=40), part=st.sampled_from([0.1, 0.25, 1.0]))
def test_the_share_of_the_top_is_that_of_the_sorted_curve(values: list[float], part: float) -> None:
    saliency = torch.tensor(values)
    share = top_share(saliency, part)
    total = sum(values)
    if total < 1e-6:
        return
    assert part - 1e-6 <= share <= 1 + 1e-6
    fine = torch.tensor(sorted(values, reverse=True)).double().repeat_interleave(20)
    assert share == pytest.approx(float(fine[: round(part * fine.numel())].sum() / fine.sum()), abs=1e-6)


def test_even_saliency_has_an_even_share() -> None:
    assert top_share(torch.ones(196)) == pytest.approx(0.1)
    assert top_share(torch.tensor([0.0, 0.0, 3.0])) == pytest.approx(0.3)
    assert top_share(torch.tensor([1.0] + [0.0] * 19)) == 1


def _boxes(folder: Path) -> Path:
    """Pictures of scenes with the boxes of their things, as a COCO file, and questions that name them."""
    images, boxes, kinds = [], [], sorted({thing.kind for scene in SCENES.scenes.values() for thing in scene.things})
    for number, (key, scene) in enumerate(SCENES.scenes.items()):
        SCENES.picture(key).save(folder / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": 672, "height": 672})
        for thing in scene.things:
            left, top, right, bottom = thing.box
            entry = {"image_id": number, "category_id": kinds.index(thing.kind), "iscrowd": 0}
            boxes.append({"id": len(boxes), **entry, "bbox": [left, top, right - left, bottom - top]})
    file = folder / "boxes.json"
    names = [{"id": number, "name": kind} for number, kind in enumerate(kinds)]
    file.write_text(json.dumps({"images": images, "annotations": boxes, "categories": names}))
    return file


def test_the_command_on_given_boxes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    boxes = str(_boxes(tmp_path))
    own = ["--images", str(tmp_path), "--annotations", boxes]
    assert cli.main(["check", "pocket", "--device", "cpu", *own, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "yes" and found["auc_t2i"]["value"] > 0.8 and found["questions"] >= LEAST_QUESTIONS
    assert cli.main(["check", str(folder_of("llava")), "--device", "cpu", *own]) == 1
    assert "AdaFV cannot be expected to work on" in capsys.readouterr().out.splitlines()[-1]
    assert cli.main(["check", "pocket", "--images", str(tmp_path)]) == 2
    assert "needs both" in capsys.readouterr().err
    assert cli.main(["check", "no/such"]) == 2 and "no/such" in capsys.readouterr().err
