"""`adafv prune-dataset` writes what the engine selects and goes on where it stopped, from any source it names."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet
from safetensors.torch import load_file

from adafv_core.engine import load
from adafv_core.errors import ImageError, InputError
from adafv_core.study import prune_dataset
from adafv_core.study.cli import main as study
from adafv_core.study.data.pocket import PocketSet
from adafv_core.study.data.source import DataSource, path_of
from adafv_core.study.prune_dataset import main, parts_of


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten questions as data sets on the Hub have them, three rows a group, one picture damaged."""
    data = PocketSet("study", 4)
    rows = [
        {
            "id": item.key,
            "image": {"bytes": png(data.picture(item.image)), "path": None},
            "question": item.question,
            "answers": list(item.answers),
        }
        for item in data.items[:10]
    ]
    rows[4]["image"] = {"bytes": b"no picture", "path": None}
    file = tmp_path_factory.mktemp("table") / "scenes.parquet"
    parquet.write_table(pa.Table.from_pylist(rows), file, row_group_size=3)
    return file


def rows_of(out: Path) -> list[dict[str, Any]]:
    return [row for file in sorted(out.glob("*.parquet")) for row in parquet.read_table(file).to_pylist()]


def test_rows_are_what_the_engine_selects(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(table), str(tmp_path), "--rows-per-file", "4", "--keep", "0.2", "--device", "cpu"]) == 0
    assert "scenes.parquet:1:1: The picture of row" in capsys.readouterr().err
    engine, data = load("pocket", device="cpu"), DataSource(parquet=(str(table),)).open()
    rows = rows_of(tmp_path)
    assert [row["key"] for row in rows] == [one.key for n, one in enumerate(data.items) if n != 4]
    tensors = {name: one for file in tmp_path.glob("*.safetensors") for name, one in load_file(file).items()}
    for row in rows:
        scores = engine.score(data.picture(row["image"]), row["question"])
        selection = engine.select(scores, keep_ratio=0.2)
        assert row["kept"] == selection.indices.tolist() and row["n_visual"] == scores.size
        torch.testing.assert_close(tensors[row["tensor"]], scores.visual.stock_features[selection.indices])
    facts = json.loads((tmp_path / prune_dataset.FACTS).read_text())
    assert (facts["rows"], facts["method"], facts["keep_ratio"]) == (10, "adafv", 0.2)


def test_it_goes_on_where_it_stopped(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [str(table), str(tmp_path), "--rows-per-file", "4", "--device", "cpu"]
    made: list[str] = []
    original = prune_dataset.PartPruner.__call__

    def until_interrupted(self: prune_dataset.PartPruner, part: prune_dataset.Part) -> prune_dataset.PartDone:
        if made:
            raise KeyboardInterrupt
        made.append(part.name)
        return original(self, part)

    monkeypatch.setattr(prune_dataset.PartPruner, "__call__", until_interrupted)
    assert main(command) == 130
    before = (tmp_path / "part-00000.parquet").stat().st_mtime_ns
    monkeypatch.setattr(prune_dataset.PartPruner, "__call__", original)
    assert main(command) == 0
    assert "2 of 3 parts to go" in capsys.readouterr().out
    assert len(rows_of(tmp_path)) == 9 and (tmp_path / "part-00000.parquet").stat().st_mtime_ns == before
    assert main([*command, "--keep", "0.5"]) == 2
    assert "was begun with another keep_ratio: 0.1 there, 0.5 here" in capsys.readouterr().err


def test_a_folder_a_url_and_what_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = path_of("memory://pictures")
    folder.mkdir(parents=True, exist_ok=True)
    for name, color in (("a.png", "red"), ("b.png", "blue")):
        (folder / name).write_bytes(png(Image.new("RGB", (224, 224), color)))
    command = ["memory://pictures", str(tmp_path / "out"), "--device", "cpu"]
    assert main([*command, "--question", "What color is it?", "--method", "divprune"]) == 0
    assert [row["key"] for row in rows_of(tmp_path / "out")] == ["a.png", "b.png"]
    (tmp_path / "empty").mkdir()
    for changed, sentence in (
        ([*command, "--method", "fastv"], "selects inside the LLM"),
        ([str(tmp_path / "none.parquet"), str(tmp_path)], "There is no Parquet file 'none.parquet'"),
        ([str(tmp_path / "empty"), str(tmp_path / "o"), "--question", "What?"], "holds no pictures"),
        (["pocket", str(tmp_path / "o"), "--rows-per-file", "0"], "--rows-per-file"),
        (["nosuch://bucket", str(tmp_path / "o")], "cannot be opened"),
    ):
        assert main(changed) == 2
        assert sentence in capsys.readouterr().err
    wrong = tmp_path / "wrong.parquet"
    parquet.write_table(pa.table({"picture": [b""]}), wrong)
    assert main([str(wrong), str(tmp_path / "o")]) == 2
    assert "needs the columns image and question" in capsys.readouterr().err


def test_a_study_of_a_parquet_file(table: Path, tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    assert (
        study(["--parquet", str(table), "--methods", "adafv", "--keep", "0.1", "--device", "cpu", "--out", str(file)])
        == 0
    )
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    answers = [line for line in lines if line["kind"] == "answer"]
    assert len(answers) == 2 * 9 and sum(line["score"] for line in answers) > 0
    assert any(line["kind"] == "omitted" and "scenes.parquet:1:1" in line["where"] for line in lines)
    assert study(["--parquet", str(table), "--images", str(tmp_path)]) == 2


def test_pieces_and_pictures(table: Path) -> None:
    assert [(one.start, one.stop) for one in parts_of(5, 2)] == [(0, 2), (2, 4), (4, 5)] and parts_of(0, 2) == []
    data = DataSource(parquet=(str(table.parent),)).open()
    with pytest.raises(ImageError, match="cannot be read"):
        data.picture(data.items[4].image)
    assert data.picture_id(data.items[0].image) == data.picture_id(data.items[1].image)
    with pytest.raises(InputError, match="needs both"):
        DataSource(images="folder").open()
