"""A study end to end: every row, stopping and going on, bounds, the user's own data on another model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.models_shared import engine_of, folder_of
from helpers.study_sample import coco, write_pictures

from adafv_core.engine import Engine, load
from adafv_core.errors import InputError, OutOfMemoryError, UnknownNameError
from adafv_core.methods import METHODS
from adafv_core.study.cli import main
from adafv_core.study.data.pocket import PocketSet
from adafv_core.study.data.user import open_user_set
from adafv_core.study.report.summary import summarize
from adafv_core.study.run.configs import ABLATION, Config, check_keep_ratios, jobs, parse_config, parse_configs
from adafv_core.study.run.inference import InferenceSettings, score_items, select_tokens
from adafv_core.study.run.results_file import Records, read_records
from adafv_core.study.run.results_writer import pack
from adafv_core.study.run.runner import Progress, Study

CONFIGS = (
    Config("saliency"),
    Config("adafv"),
    Config("adafv", {"floor": 0.25}),
    Config("fastv"),
    Config("oracle"),
    Config("blind"),
)
RATIOS = (1.0, 0.1)


@cache
def pocket() -> Engine:
    return load("pocket", device="cpu")


@cache
def scenes() -> PocketSet:
    return PocketSet("validation", 3)


def study(file: Path, engine: Engine | None = None, rows: tuple[Config, ...] = CONFIGS) -> Study:
    return Study(engine or pocket(), scenes(), rows, RATIOS, file, InferenceSettings(batch_size=8, max_new_tokens=3))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Progress]]:
    """A study that was never interrupted."""
    file = tmp_path_factory.mktemp("study") / "whole.jsonl"
    return file, list(study(file).run())


def test_every_question_is_answered_for_every_row(whole: tuple[Path, list[Progress]]) -> None:
    file, steps = whole
    records = read_records(file)
    asked = len(scenes().items)
    assert {key: len(given) for key, given in records.answers.items()} == {
        ("full", 1.0): asked,
        ("saliency", 0.1): asked,
        ("adafv", 0.1): asked,
        ("adafv floor=0.25", 0.1): asked,
        ("fastv", 0.1): asked,
        ("oracle", 0.1): asked,
        ("blind", None): asked,
    }
    assert {given.kept for given in records.answers["adafv", 0.1].values()} == {20}
    assert {given.kept for given in records.answers["blind", None].values()} == {1}
    assert steps[-1].done == steps[-1].total == 7 * asked and steps[-1].seconds_left == 0
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    named = [q for q, item in enumerate(scenes().items) if item.named]
    assert sorted(records.measures) == named


def test_answers_are_those_of_the_engine(whole: tuple[Path, list[Progress]]) -> None:
    records = read_records(whole[0])
    for q in (0, len(scenes().items) - 1):
        item = scenes().items[q]
        answer = pocket().answer(scenes().picture(item.image), item.question, keep_ratio=0.1, max_new_tokens=3)
        assert records.answers["adafv", 0.1][q].text == answer.text
        assert records.answers["adafv", 0.1][q].k_text == answer.selection.k_text


def test_a_stopped_study_goes_on_and_asks_nothing_twice(
    whole: tuple[Path, list[Progress]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    stock = Engine.answer_batch

    def counting(self: Engine, questions: Any, *given: Any, **options: Any) -> Any:
        asked.append(len(questions))
        return stock(self, questions, *given, **options)

    monkeypatch.setattr(Engine, "answer_batch", counting)
    file = tmp_path / "stopped.jsonl"
    for stop_after in (3, 4, 100):
        steps: Iterator[Progress] = study(file).run()
        for _, _ in zip(range(stop_after), steps, strict=False):
            pass
        if stop_after != 100:
            with file.open("a") as out:
                out.write('{"kind":"answer","row":"ada')
    uninterrupted, gone_on = read_records(whole[0]), read_records(file)
    assert gone_on.answers == uninterrupted.answers and gone_on.measures == uninterrupted.measures
    assert sum(asked) == study(file).total == study(file).done
    asked.clear()
    assert list(study(file).run()) == [] and asked == []
    assert summarize(gone_on)["rows"] == summarize(uninterrupted)["rows"]


def test_a_file_of_another_study_is_refused(whole: tuple[Path, list[Progress]], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="another asking"):
        Study(pocket(), scenes(), CONFIGS, RATIOS, whole[0], InferenceSettings(max_new_tokens=9))
    with pytest.raises(InputError, match="another model"):
        study(whole[0], engine_of("llava"))
    (tmp_path / "other.jsonl").write_text('{"kind":"header"}\n')
    with pytest.raises(InputError, match=r"other.jsonl, line 1: expected the header"):
        read_records(tmp_path / "other.jsonl")
    (tmp_path / "wrong.jsonl").write_text(whole[0].read_text().split("\n")[0] + "\n[]\n")
    with pytest.raises(InputError, match=r"wrong.jsonl, line 2: not a line"):
        read_records(tmp_path / "wrong.jsonl", strict=True)
    (tmp_path / "letter.txt").write_text("Dear reader")
    with pytest.raises(InputError, match=r"letter.txt, line 1: not a line"):
        read_records(tmp_path / "letter.txt")
    (tmp_path / "begun.jsonl").write_text('{"kind":"header","for')
    assert not read_records(tmp_path / "begun.jsonl").header


def test_nothing_of_the_machine_but_its_kind_is_in_the_file(whole: tuple[Path, list[Progress]]) -> None:
    text = whole[0].read_text(encoding="utf-8")
    assert str(Path.cwd()) not in text and str(Path.home()) not in text and str(whole[0].parent) not in text
    header = json.loads(text.split("\n")[0])
    assert header["model"]["name"] == "pocket" and len(header["model"]["weights"]) == 16


def test_a_packed_study_reads_the_same(whole: tuple[Path, list[Progress]], tmp_path: Path) -> None:
    for name in ("a", "b"):
        pack(whole[0], tmp_path / f"{name}.jsonl.gz")
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()
    assert read_records(tmp_path / "a.jsonl.gz").answers == read_records(whole[0]).answers


def test_bounds_keep_the_true_tokens_first_and_a_single_one_of_the_ground() -> None:
    items = dict(enumerate(scenes().items))
    for one in score_items(pocket(), scenes(), items, "").values():
        assert one.objects is not None
        needed = one.objects.on_any(one.item.needed)
        best = select_tokens(pocket(), Config("oracle"), 0.1, one)
        assert best is not None and best.size == 20
        assert int((best.kept & needed).sum()) == min(20, int(needed.sum()))
        if not one.item.needed:
            plain = pocket().select(one.scores, keep_ratio=0.1, method="saliency")
            assert torch.equal(best.kept, plain.kept)
        for thing in one.item.needed:
            assert bool((best.kept & one.objects.on(thing)).any())
        worst = select_tokens(pocket(), Config("blind"), None, one)
        assert worst is not None and worst.size == 1
        assert not (worst.kept & one.objects.on_any(scenes().object_ids(one.item.image))).any()


def test_random_keeps_other_tokens_for_other_questions() -> None:
    items = {q: scenes().items[q] for q in (0, 1)}
    first, second = (
        select_tokens(pocket(), Config("random"), 0.1, one)
        for one in score_items(pocket(), scenes(), items, "").values()
    )
    assert first is not None and second is not None and not torch.equal(first.kept, second.kept)


def test_all_methods_and_both_bounds_are_in_all() -> None:
    rows = parse_configs(["all"])
    assert [row.label for row in rows] == [*METHODS, "oracle", "blind"]
    asked = jobs(rows, RATIOS)
    assert asked[0] == (Config("full"), 1.0) and (Config("blind"), None) in asked
    assert len(asked) == 1 + (len(METHODS) - 1) + 2
    assert parse_configs(["ablation"]) == ABLATION and Config("adafv") in ABLATION


def test_rows_and_ratios_are_checked() -> None:
    assert parse_config("adafv:floor=0.25,text_tokens=all").options == {"floor": 0.25, "text_tokens": "all"}
    assert parse_config("saliency:positions=original").options == {"positions": "original"}
    assert parse_config("fastv:layer=1").options == {"layer": 1}
    for text in ("nothing", "adafv:speed=3", "adafv:text_tokens=some", "adafv:positions=some", "adafv:budget=3"):
        with pytest.raises(UnknownNameError):
            parse_config(text)
    for text in ("adafv:floor", "adafv:floor=much", "adafv:floor=0.9", "blind:k=3"):
        with pytest.raises(InputError):
            parse_config(text)
    assert check_keep_ratios([0.1, 1.0, 0.1]) == (1.0, 0.1)
    for ratios in ([], [0.0], [1.5], [float("nan")]):
        with pytest.raises(InputError, match="Keep ratios"):
            check_keep_ratios(ratios)


def test_a_budget_a_method_cannot_serve_is_left_out_and_said(tmp_path: Path) -> None:
    rows = (Config("adav_authors"), Config("adafv"))
    one = Study(pocket(), PocketSet("validation", 1), rows, (1.0, 0.005), tmp_path / "few.jsonl")
    steps = list(one.run())
    assert steps[-1].done == one.total
    summary = summarize(read_records(tmp_path / "few.jsonl"))
    assert [(left["row"], left["keep"]) for left in summary["left_out"]] == [("adav_authors", 0.005)]
    assert "ask for at least 2" in summary["left_out"][0]["why"]
    assert "adav_authors" not in {row["row"] for row in summary["rows"]}


def test_batches_are_halved_when_memory_runs_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stock, sizes = Engine.answer_batch, []

    def small(self: Engine, *given: Any, **options: Any) -> Any:
        sizes.append(options["batch_size"])
        if options["batch_size"] > 2:
            raise OutOfMemoryError("injected")
        return stock(self, *given, **options)

    monkeypatch.setattr(Engine, "answer_batch", small)
    one = study(tmp_path / "small.jsonl", rows=(Config("adafv"),))
    list(one.run())
    assert one.done == one.total and sizes[:3] == [8, 4, 2]


def test_own_pictures_on_another_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A COCO-style folder of two pictures on a tiny any-resolution model, by the command line."""
    pictures = write_pictures(tmp_path / "pictures")
    (tmp_path / "notes.json").write_text(json.dumps(coco()))
    arguments = ["--model", str(folder_of("llava_next_vicuna")), "--images", str(pictures), "--annotations"]
    arguments += [str(tmp_path / "notes.json"), "--methods", "adafv", "t2i", "oracle", "blind", "--keep", "0.25"]
    arguments += ["--device", "cpu", "--out", str(tmp_path / "own.jsonl"), "--max-new-tokens", "2"]
    arguments += ["--store", str(tmp_path / "stored"), "--name", "own"]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert "AdaFV" in printed.out
    note = "2 images with objects have no `width` and `height`"
    assert f"note: {note}" in printed.err
    summary = json.loads((tmp_path / "stored" / "own.json").read_text())
    assert [one.startswith(note) for one in summary["data"]["notes"]] == [True]
    assert summary["questions"] == 2 and summary["pictures"] == 2 and summary["families"] == ["attribute", "counting"]
    assert summary["figures"]["auc"]["t2i"]["n"] == 3, "the caption is measured too"
    assert set(summary["figures"]["auc"]["t2i"]["families"]) == {"attribute", "counting", "caption"}
    assert str(tmp_path) not in json.dumps(summary)
    assert read_records(tmp_path / "stored" / "own.jsonl.gz").header["data"]["name"] == "notes"


def test_questions_without_boxes_have_figure_1_alone(tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures")
    listed = [{"image": "one.png", "question": "Which color?", "answers": ["red"] * 10}]
    (tmp_path / "list.json").write_text(json.dumps(listed))
    data = open_user_set(pictures, [tmp_path / "list.json"])
    one = Study(pocket(), data, parse_configs(["adafv", "oracle", "blind"]), (0.1,), tmp_path / "v.jsonl")
    assert [row.label for row, _ in one.jobs] == ["full", "adafv"], "bounds need objects"
    list(one.run())
    summary = summarize(read_records(tmp_path / "v.jsonl"))
    assert summary["figures"] == {} and {row["row"] for row in summary["rows"]} == {"full", "adafv"}


def test_captions_alone_have_figures_2_to_4(tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures")
    whole = coco()
    whole["annotations"] = [one for one in whole["annotations"] if "question" not in one]
    (tmp_path / "captions.json").write_text(json.dumps(whole))
    data = open_user_set(pictures, [tmp_path / "captions.json"])
    one = Study(pocket(), data, parse_configs(["adafv"]), (0.1,), tmp_path / "c.jsonl")
    assert one.total == 0
    list(one.run())
    summary = summarize(read_records(tmp_path / "c.jsonl"))
    assert summary["rows"] == [] and summary["figures"]["hit"]["t2i"]["mean"] >= 1


def test_wrong_input_ends_the_command_with_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, says in (
        (["--methods", "nothing"], "There is no method 'nothing'"),
        (["--keep", "7"], "Keep ratios are fractions"),
        (["--images", str(tmp_path)], "needs both"),
        (["--scenes", "0"], "scenes must be a whole number of at least 1"),
    ):
        assert main([*arguments, "--out", str(tmp_path / "never.jsonl")]) == 2
        assert says in capsys.readouterr().err
    assert not (tmp_path / "never.jsonl").exists()
    with pytest.raises(InputError, match="neither answers nor measurements"):
        summarize(Records())
