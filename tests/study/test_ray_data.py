"""A study and a selection on a real Ray cluster on this machine write what they write locally, and can be resumed.

Needs the extra `ray`; run with `python -m pytest tests/study/test_ray_data.py`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adafv_core.study.cli import main as study
from adafv_core.study.prune_dataset import main as prune
from adafv_core.study.run.results_file import Records, lines_of, read_records

pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")
on_ray = pytest.importorskip("adafv_core.study.run.on_ray")
pytestmark = pytest.mark.nightly

SMALL = [
    "--scenes",
    "6",
    "--keep",
    "0.1",
    "--device",
    "cpu",
    "--batch-size",
    "8",
    "--methods",
    "adafv",
    "random",
    "blind",
]


def facts(records: Records) -> dict[str, Any]:
    """What a file says about each question, by the question's key and not by its number."""
    keys = {q: line["key"] for q, line in records.questions.items()}
    answers = {(*key, keys[q]): one for key, given in records.answers.items() for q, one in given.items()}
    measures = {keys[q]: {**line, "q": None} for q, line in records.measures.items()}
    return {
        "answers": answers,
        "measures": measures,
        "model": records.header["model"],
        "asking": records.header["asking"],
    }


def test_a_study_is_that_of_one_process(tmp_path: Path) -> None:
    here, there = tmp_path / "here.jsonl", tmp_path / "there.jsonl"
    assert study([*SMALL, "--out", str(here)]) == 0
    assert study([*SMALL, "--out", str(there), "--ray"]) == 0
    local, remote = facts(read_records(here)), facts(read_records(there))
    ours, theirs = local.pop("answers"), remote.pop("answers")
    assert local == remote and ours.keys() == theirs.keys() and len(ours) > 100
    for key, one in ours.items():
        assert replace(one, nll=None, kl=None, p=None) == replace(theirs[key], nll=None, kl=None, p=None)
        for name in ("nll", "kl", "p"):
            close = pytest.approx(getattr(one, name), rel=0.01, abs=2e-6)  # other rows share a batch, so sums differ
            assert getattr(theirs[key], name) == close, (key, name)


def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    source = on_ray.DataSource(scenes=6)
    settings = on_ray.InferenceSettings(8, 8)
    given = (on_ray.Model("pocket", "cpu"), source, (on_ray.Config("adafv"),), (0.1,), file, settings)
    first = on_ray.RayStudy(*given)
    steps = first.run()
    next(steps)
    steps.close()
    assert 0 < first.done < first.total
    second = on_ray.RayStudy(*given)
    assert second.done == first.done
    list(second.run())
    assert second.done == second.total
    asked = [(line["row"], line["keep"], line["q"]) for line in lines_of(file) if line["kind"] == "answer"]
    assert len(asked) == len(set(asked)) == second.total, "nothing is asked twice"


def test_a_selection_is_that_of_one_process(tmp_path: Path) -> None:
    command = ["pocket", "--scenes", "6", "--rows-per-file", "10", "--device", "cpu"]
    for name, more in (("here", []), ("there", ["--ray"])):
        assert prune([command[0], str(tmp_path / name), *command[1:], *more]) == 0
    names = sorted(file.name for file in (tmp_path / "here").iterdir())
    assert len(names) > 8
    for name in names:
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes(), name
    assert json.loads((tmp_path / "there" / "dataset.json").read_text())["rows"] > 30
