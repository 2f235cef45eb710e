"""Two results files held against each other, and the statistics by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.study_records import records

from adafv_core.errors import InputError
from adafv_core.study.cli import main
from adafv_core.study.measure.fidelity import Reference, calibration_error, kl_of_first_token
from adafv_core.study.measure.intervals import draw_weights, holm, paired
from adafv_core.study.report.compare import compare
from adafv_core.study.run.results_file import Records, StoredAnswer
from adafv_core.study.run.results_writer import Writer, pack

HEADER: dict[str, Any] = {"kind": "header", "format": 1, "data": {}, "model": {}, "asking": {}, "versions": {}}


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == [] and holm([0.7, 0.9]) == [1.0, 1.0]


def test_a_detectable_difference_follows_from_the_standard_error() -> None:
    rng = np.random.default_rng(0)
    first, other = (rng.integers(0, 2, 400).astype(float) for _ in range(2))
    test = paired(first, other, np.arange(400), draw_weights(400))
    error = float((first - other).std() / np.sqrt(400))
    assert test.detectable == pytest.approx(2.8016 * error, rel=0.05)
    assert test.n_for_a_point == pytest.approx(400 * (test.detectable / 0.01) ** 2, rel=1e-3)


def test_calibration_error_of_two_bins() -> None:
    confidence, right = np.array([0.9, 0.9, 0.1, 0.1]), np.array([1.0, 0.0, 0.0, 0.0])
    assert calibration_error(confidence, right) == pytest.approx(100 * (2 * 0.4 + 2 * 0.1) / 4)
    assert calibration_error(np.ones(3), np.ones(3)) == 0.0


def test_kl_over_the_top_tokens_is_that_of_the_joined_distributions() -> None:
    full, pruned = torch.tensor([0.5, 0.3, 0.1, 0.1]), torch.tensor([0.25, 0.25, 0.4, 0.1])
    reference = Reference((0,), (0, 1), tuple(full[:2].log().tolist()))
    joined = 0.5 * np.log(2) + 0.3 * np.log(1.2) + 0.2 * np.log(0.2 / 0.5)
    assert kl_of_first_token(pruned.log(), reference) == pytest.approx(joined, abs=1e-6)
    assert kl_of_first_token(full.log(), reference) == pytest.approx(0, abs=1e-6)
    whole = Reference((0,), (0, 1, 2, 3), tuple(full.log().tolist()))
    exact = float((full * (full / pruned).log()).sum())
    assert kl_of_first_token(pruned.log(), whole) == pytest.approx(exact, abs=1e-5)


def made(scores: list[float], ids: bool, keep: float = 0.1) -> Records:
    found = Records()
    found.take(HEADER)
    for q, score in enumerate(scores):
        line: dict[str, Any] = {"kind": "question", "q": q, "key": f"{q}", "image": f"p{q // 2}", "question": "?"}
        found.take({**line, "answers": ["x"], **({"id": f"id{q}"} if ids else {})})
        text = "x" if score else "y"
        found.take({"kind": "answer", "row": "adafv", "keep": keep, "q": q, "text": text, "score": score, "kept": 9})
    return found


@pytest.mark.parametrize("ids", [True, False])
def test_files_are_compared_question_by_question(ids: bool) -> None:
    worse, better = made([0.0] * 30 + [1.0] * 10, ids), made([1.0] * 40, True)
    del better.answers["adafv", 0.1][39]
    (one,) = compare(worse, better)
    assert (one.row, one.keep, one.n) == ("adafv", 0.1, 39)
    assert one.second == 100.0 and one.values["difference"]["value"] == pytest.approx(100 * 30 / 39, abs=1e-2)
    assert one.values["verdict"] == "ahead" and one.values["only_first"] == 30
    (back,) = compare(better, worse)
    assert back.values["verdict"] == "behind"
    (same,) = compare(worse, worse)
    assert same.values["verdict"] == "level" and same.values["difference"]["value"] == 0
    with pytest.raises(InputError, match="no row"):
        compare(worse, made([1.0] * 40, True, keep=0.2))
    with pytest.raises(InputError, match="no question"):
        compare(worse, Records())


def test_the_command_prints_a_table_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, scores in (("a", [0.0] * 20), ("b", [1.0] * 20)):
        writer, source = Writer(tmp_path / f"{name}.jsonl", Records()), made(scores, True)
        writer.write(HEADER, *source.questions.values())
        for q, given in source.answers["adafv", 0.1].items():
            line = {"kind": "answer", "row": "adafv", "keep": 0.1, "q": q}
            writer.write({**line, "text": given.text, "score": given.score, "kept": 9})
    pack(tmp_path / "b.jsonl", tmp_path / "b.jsonl.gz")
    files = [str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl.gz")]
    assert main(["compare", *files]) == 0
    assert "100.00 (100.00–100.00)" in (text := capsys.readouterr().out) and "ahead" in text
    assert main(["compare", *files, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["row"] == "adafv" and row["difference"]["value"] == 100.0 and row["p_holm"] < 0.01
    assert main(["compare", str(tmp_path / "none.jsonl"), files[0]]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_answers_of_0_1_have_no_fidelity() -> None:
    given = records().answers["adafv", 0.1][0]
    assert given == StoredAnswer("x", 1, 10, 4, 8) and given.nll is None and given.flops is None
