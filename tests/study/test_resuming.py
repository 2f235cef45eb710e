"""What an odd picture, a changed set, a damaged file or a full disk costs: only itself, and it is said."""

from __future__ import annotations

import errno
import gzip
import io
import json
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.study_sample import coco, write_pictures
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from adafv_core.engine import Engine, load
from adafv_core.errors import InputError, OutOfMemoryError
from adafv_core.study.cli import main
from adafv_core.study.data.base import DataSet
from adafv_core.study.data.pocket import PocketSet
from adafv_core.study.data.user import open_user_set
from adafv_core.study.report.summary import summarize
from adafv_core.study.run import results_writer
from adafv_core.study.run.configs import Config, parse_configs
from adafv_core.study.run.inference import InferenceSettings
from adafv_core.study.run.results_file import Records, read_records
from adafv_core.study.run.results_writer import Writer, pack
from adafv_core.study.run.runner import Study

RESULTS = Path(__file__).resolve().parents[2] / "assets" / "results"
OF_0_1 = Path(__file__).with_name("results_of_0_1.jsonl.gz")
N = 8


@pytest.fixture(scope="module")
def engine() -> Engine:
    return load("pocket", device="cpu")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The number of questions of each call to the engine."""
    counts: list[int] = []
    stock = Engine.answer_batch

    def counting(self: Engine, questions: Any, *given: Any, **options: Any) -> Any:
        answers = stock(self, questions, *given, **options)
        counts.append(len(questions))
        return answers

    monkeypatch.setattr(Engine, "answer_batch", counting)
    yield counts


def write_own(folder: Path, damaged: int | None = None, n: int = N) -> list[dict[str, Any]]:
    """Pictures with a question each; one may be cut off in the middle."""
    (folder / "img").mkdir(exist_ok=True)
    for number in range(n):
        picture = Image.new("RGB", (64, 64), (20 * number, 90, 40))
        ImageDraw.Draw(picture).ellipse((8, 8, 40, 30 + 2 * number), fill="red")
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG")
        data = buffer.getvalue()
        (folder / "img" / f"{number:04}.jpg").write_bytes(data[: len(data) // 2] if number == damaged else data)
    return [
        {"question_id": k, "image": f"{k:04}.jpg", "question": "What shape is it?", "answer": "ring"} for k in range(n)
    ]


def opened(folder: Path, questions: Any, strict: bool = False) -> DataSet:
    (folder / "q.json").write_text(json.dumps(questions))
    return open_user_set(folder / "img", [folder / "q.json"], strict)


def study(engine: Engine, data: DataSet, file: Path, methods: str = "adafv", strict: bool = False) -> Study:
    asking = InferenceSettings(batch_size=3, max_new_tokens=2)
    one = Study(engine, data, parse_configs(methods.split()), (0.25,), file, asking, strict)
    for progress in one.run():
        assert progress.done <= progress.total
    assert one.done == one.total
    return one


def test_a_damaged_picture_costs_its_own_questions_alone(engine: Engine, tmp_path: Path, asked: list[int]) -> None:
    questions = write_own(tmp_path, damaged=5)
    file = tmp_path / "o.jsonl"
    records = study(engine, opened(tmp_path, questions), file).records
    assert {len(given) for given in records.answers.values()} == {N - 1} and sum(asked) == 2 * (N - 1)
    (omission,) = summarize(records)["omitted"]
    assert omission["where"] == "0005.jpg (question q.json/5)" and "cannot be read" in omission["why"]
    asked.clear()
    write_own(tmp_path)
    mended = study(engine, opened(tmp_path, questions), file).records
    assert sum(asked) == 2 and summarize(mended)["omitted"] == [] and summarize(mended)["questions"] == N
    with pytest.raises(InputError, match=r"0005\.jpg"):
        write_own(tmp_path, damaged=5)
        study(engine, opened(tmp_path, questions), tmp_path / "strict.jsonl", strict=True)


def test_a_picture_that_is_gone_or_fails_in_the_model_is_left_out(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = opened(tmp_path, write_own(tmp_path))
    (tmp_path / "img" / "0002.jpg").unlink()
    stock = Engine.encode_many

    def failing(self: Engine, images: Any, **options: Any) -> Any:
        pictures = list(images)
        if any(isinstance(one, Image.Image) and one.getpixel((63, 63))[0] > 130 for one in pictures):
            raise ZeroDivisionError("injected")
        return stock(self, pictures, **options)

    monkeypatch.setattr(Engine, "encode_many", failing)
    summary = summarize(study(engine, data, tmp_path / "o.jsonl").records)
    assert summary["questions"] == N - 2
    assert [one["where"].split(" ")[0] for one in summary["omitted"]] == ["0002.jpg", "0007.jpg"]
    assert summary["omitted"][1]["why"] == "ZeroDivisionError: injected"


def test_a_question_too_large_for_the_device_is_left_out_and_asked_again_next_time(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[int]
) -> None:
    questions = write_own(tmp_path)
    questions[4]["question"] = "What color is the enormous shape?"
    counting = Engine.answer_batch

    def small(self: Engine, pairs: Any, *given: Any, **options: Any) -> Any:
        if any("enormous" in prompt for _, prompt in [(one, str(two)) for one, two in pairs]):
            raise OutOfMemoryError("injected")
        return counting(self, pairs, *given, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Engine, "answer_batch", small)
        records = study(engine, opened(tmp_path, questions), tmp_path / "o.jsonl").records
    assert [len(given) for given in records.answers.values()] == [N - 1, N - 1]
    assert [one["why"] for one in summarize(records)["omitted"]] == ["injected", "injected"]
    asked.clear()
    again = study(engine, opened(tmp_path, questions), tmp_path / "o.jsonl").records
    assert asked == [1, 1] and summarize(again)["omitted"] == []


@pytest.mark.parametrize("kind", ["vqa", "coco"])
def test_odd_entries_among_thousands_are_left_out_one_by_one(kind: str, tmp_path: Path) -> None:
    questions: list[Any] = write_own(tmp_path) * 400
    odd = {7: None, 900: {"image": "gone.jpg", "question": "Red?", "answer": "x"}, 3100: {**questions[0], "answer": {}}}
    for place, entry in odd.items():
        questions[place] = entry
    if kind == "coco":
        images = [{"id": k, "file_name": f"{k:04}.jpg"} for k in range(N)]
        texts = [{**(one or {}), "id": at, "image_id": at % N} for at, one in enumerate(questions)]
        texts[900]["image_id"] = 99
        texts[7] = None  # type: ignore[call-overload]
        (tmp_path / "q.json").write_text(json.dumps({"images": images, "annotations": texts, "categories": []}))
        data = open_user_set(tmp_path / "img", [tmp_path / "q.json"])
    else:
        data = opened(tmp_path, questions)
    assert len(data.items) == len(questions) - 3 and len(data.omissions) == 3
    assert sorted(int(one.where.split("[")[1].split("]")[0]) for one in data.omissions) == sorted(odd)
    assert len({item.key for item in data.items}) == len(data.items)
    with pytest.raises(InputError):
        open_user_set(tmp_path / "img", [tmp_path / "q.json"], strict=True)


def test_a_changed_set_keeps_the_answers_to_the_questions_it_still_has(
    engine: Engine, tmp_path: Path, asked: list[int]
) -> None:
    questions, file = write_own(tmp_path), tmp_path / "o.jsonl"
    study(engine, opened(tmp_path, questions), file)
    asked.clear()
    (tmp_path / "img" / "more").mkdir()
    (tmp_path / "img" / "0001.jpg").rename(tmp_path / "img" / "more" / "renamed.jpg")
    Image.new("RGB", (64, 64), "blue").save(tmp_path / "img" / "0003.jpg")
    changed = [one for one in questions if one["question_id"] != 2][::-1]
    for one in changed:
        one["question_id"] += 100
        if one["image"] == "0001.jpg":
            one["image"] = "more/renamed.jpg"
    next(one for one in changed if one["image"] == "0004.jpg")["answer"] = "circle"
    changed.append({"image": "0000.jpg", "question": "What color is it?", "answer": "red"})
    one = study(engine, opened(tmp_path, changed), file)
    assert sum(asked) == 2 * 3, "another picture, another answer, a new question"
    summary = summarize(one.records)
    assert summary["questions"] == N and summary["data"]["questions"] == N
    assert summarize(read_records(file)) == json.loads(json.dumps(summary)), "the file says the same"
    fresh = study(engine, opened(tmp_path, changed), tmp_path / "fresh.jsonl").records
    values = [[row["accuracy"]["value"] for row in summarize(records)["rows"]] for records in (one.records, fresh)]
    assert values[0] == values[1]


def test_another_place_of_an_object_asks_the_bounds_and_measures_again(
    engine: Engine, tmp_path: Path, asked: list[int]
) -> None:
    write_pictures(tmp_path / "img")
    value = coco()
    file = tmp_path / "o.jsonl"
    first = study(engine, opened(tmp_path, value), file, "adafv oracle blind").records
    before = {q: dict(line) for q, line in first.measures.items()}
    asked.clear()
    value["annotations"][0]["bbox"] = [80, 60, 30, 30]
    moved = study(engine, opened(tmp_path, value), file, "adafv oracle blind").records
    assert asked == [1, 1], "oracle and blind, for the one question about that picture"
    assert moved.measures.keys() == before.keys()
    assert {q for q in before if moved.measures[q] != before[q]} == {
        q for q, line in moved.questions.items() if line["image"] == "one.png"
    }
    assert read_records(file).measures == moved.measures


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(at=st.floats(0, 1))
def test_a_file_cut_off_anywhere_loses_what_was_cut_off_alone(suffix: str, at: float, tmp_path: Path) -> None:
    whole = tmp_path / f"whole{suffix}"
    lines = [{"kind": "header", "format": 1, "data": {}, "model": {}, "asking": {}, "versions": {}}]
    lines += [
        {
            "kind": "question",
            "q": q,
            "key": str(q),
            "image": "p",
            "family": "é\u2028",
            "question": "?",
            "answers": ["x"],
        }
        for q in range(40)
    ]
    lines += [
        {"kind": "answer", "row": "full", "keep": 1.0, "q": q, "text": "x", "score": 1, "kept": 9} for q in range(40)
    ]
    if not whole.exists():
        writer = Writer(whole, Records())
        for line in lines:
            writer.write(line)
    content = whole.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(content[: int(at * len(content))])
    before = read_records(cut)
    Writer(cut, before).write(*([] if before.header else lines[:1]))
    after = read_records(cut)
    assert after.answers == before.answers and after.questions == before.questions and not after.damaged
    given_answers = before.answers.get(("full", 1.0), {})
    assert sorted(given_answers) == list(range(len(given_answers)))
    if suffix == ".jsonl":
        kept = content[: int(at * len(content))].rfind(b"\n") + 1
        assert len(given_answers) >= content[:kept].count(b'"kind":"answer"')


def test_a_damaged_line_costs_itself_alone(engine: Engine, tmp_path: Path, asked: list[int]) -> None:
    questions, file = write_own(tmp_path), tmp_path / "o.jsonl"
    study(engine, opened(tmp_path, questions), file)
    lines = file.read_bytes().split(b"\n")
    place = next(number for number, line in enumerate(lines) if b'"kind":"answer"' in line)
    lines[place] = lines[place][:20] + b"\x00\x00\xff" + lines[place][40:]
    file.write_bytes(b"\n".join(lines))
    asked.clear()
    again = study(engine, opened(tmp_path, questions), file).records
    assert asked == [1] and summarize(again)["questions"] == N
    assert [one["where"] for one in summarize(again)["omitted"]] == [f"o.jsonl, line {place + 1}"]


@pytest.mark.parametrize("changed", [{"text": 7}, {"text": None}, {"q": "0"}, {"q": None}])
def test_an_answer_of_other_types_is_a_damaged_line(changed: dict[str, Any], tmp_path: Path) -> None:
    answer = {"kind": "answer", "row": "adafv", "keep": 0.25, "q": 0, "text": "a", "score": 1, "kept": 2, **changed}
    question = {"kind": "question", "q": 0, "question": "What?", "answers": ["a"]}
    file = tmp_path / "o.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in ({"kind": "header", "format": 1}, question, answer)))
    records = read_records(file)
    assert [one.where for one in records.damaged] == ["o.jsonl, line 3"] and not records.answers


def test_a_full_disk_delays_answers_and_loses_none(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock, calls = results_writer._append, []

    def full_for_a_while(file: Path, data: bytes) -> None:
        calls.append(len(data))
        if 3 < len(calls) < 8:
            with file.open("ab") as out:
                out.write(b"")
            raise OSError(errno.ENOSPC, "No space left on device")
        stock(file, data)

    monkeypatch.setattr(results_writer, "_append", full_for_a_while)
    file = tmp_path / "o.jsonl"
    one = study(engine, opened(tmp_path, write_own(tmp_path)), file)
    assert len(calls) > 8 and one.unwritten is None
    on_disk = read_records(file)
    assert on_disk.answers == one.records.answers and not on_disk.damaged


def test_a_file_that_reaches_a_size_limit_stays_whole(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real limit of the operating system (Python ignores SIGXFSZ); then the same command without it."""
    write_own(tmp_path)
    (tmp_path / "q.json").write_text(json.dumps(write_own(tmp_path)))
    command = ["--images", str(tmp_path / "img"), "--annotations", str(tmp_path / "q.json"), "--methods", "adafv"]
    command += ["--keep", "0.25", "--out", str(tmp_path / "o.jsonl"), "--batch-size", "2", "--device", "cpu"]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2500, limits[1]))
    try:
        status = main(command)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    printed = capsys.readouterr()
    assert status == 1 and "could not be written to o.jsonl" in printed.err, printed.err
    assert "AdaFV" in printed.out, "the table is printed all the same"
    stored = read_records(tmp_path / "o.jsonl")
    assert not stored.damaged and 0 < sum(map(len, stored.answers.values())) < 2 * N
    assert main(command) == 0
    assert sum(map(len, read_records(tmp_path / "o.jsonl").answers.values())) == 2 * N


def test_a_budget_that_one_picture_cannot_serve_costs_that_question_alone(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = write_own(tmp_path)
    questions[6]["question"] = "What shape is the odd one?"
    stock = Engine.select

    def refusing(self: Engine, scores: Any, *given: Any, **options: Any) -> Any:
        if "odd one" in scores.prompt and options["method"] == "adafv":
            raise InputError("injected")
        return stock(self, scores, *given, **options)

    monkeypatch.setattr(Engine, "select", refusing)
    one = study(engine, opened(tmp_path, questions), tmp_path / "o.jsonl")
    summary = summarize(one.records)
    assert summary["left_out"] == [] and summary["questions"] == N - 1
    assert summary["omitted"] == [{"where": "question q.json/6, adafv at 0.25", "why": "injected"}]
    again = study(engine, opened(tmp_path, questions), tmp_path / "o.jsonl")
    assert summarize(again.records)["omitted"] == summary["omitted"]


def test_results_of_version_0_1_are_read_judged_and_resumed(engine: Engine, tmp_path: Path, asked: list[int]) -> None:
    """The first questions of a study that 0.1 wrote go on with another row without asking anything again."""
    data = PocketSet("study", 2)
    old = tmp_path / "old.jsonl.gz"
    old.write_bytes(OF_0_1.read_bytes())
    lines = [json.loads(line) for line in gzip.decompress(old.read_bytes()).splitlines()]
    assert all("id" not in line and line.get("q", 0) < len(data.items) for line in lines)
    stored = read_records(old)
    assert ("full", 1.0) in stored.answers
    one = Study(engine, data, [Config("saliency")], (0.5,), old, InferenceSettings(max_new_tokens=8))
    assert list(one.items) == list(range(len(data.items))), "every question keeps its number"
    already = len(stored.answers["full", 1.0])
    list(one.run())
    assert sum(asked) == 2 * len(data.items) - already
    assert read_records(old).answers["saliency", 0.5].keys() == one.items.keys()


def test_stored_results_need_no_new_answer(engine: Engine, asked: list[int], tmp_path: Path) -> None:
    packed = tmp_path / "pocket.jsonl.gz"
    packed.write_bytes((RESULTS / "pocket.jsonl.gz").read_bytes())
    one = Study(engine, PocketSet(), parse_configs(["all"]), (1.0, 0.25, 0.1, 0.05), packed)
    assert one.done == one.total > 90_000
    assert list(one.run()) == [] and asked == []
    pack(packed, tmp_path / "again.jsonl.gz")
    assert read_records(tmp_path / "again.jsonl.gz").answers == one.records.answers
