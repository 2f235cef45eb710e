"""A study at equal prefill FLOPs: rows beside those of keep ratios, resumed, summarized and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adafv_core.engine import load
from adafv_core.errors import InputError
from adafv_core.study.cli import make_parser
from adafv_core.study.data.pocket import PocketSet
from adafv_core.study.report.markdown import ahead_at_equal_flops, equal_flops_table, main_table, paired_table
from adafv_core.study.report.summary import summarize
from adafv_core.study.report.tables import flops_shares_of, labels_of, text_table
from adafv_core.study.run.configs import Config, at_equal_flops, jobs, parse_config, parse_configs
from adafv_core.study.run.results_file import read_records
from adafv_core.study.run.runner import Study
from app.study.text import command, overview

SHARES = (0.6, 0.3)
"""FastV reaches the first only: half of the bundled model's layers see every token."""
METHODS = (Config("saliency"), Config("adafv"), Config("fastv"))


def study(file: Path, shares: tuple[float, ...]) -> Study:
    configs = (*METHODS, *at_equal_flops(METHODS, shares))
    return Study(load("pocket"), PocketSet("validation", 1), configs, (1.0, 0.1), file)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keep ratios first, as an older version wrote them; shares of FLOPs are added to the same file."""
    path = tmp_path_factory.mktemp("study") / "equal.jsonl"
    list(study(path, ()).run())
    before = path.read_bytes()
    resumed = study(path, SHARES)
    assert resumed.done == len(resumed.asked) * 4 and resumed.total == len(resumed.asked) * 10
    list(resumed.run())
    assert path.read_bytes().startswith(before)
    return path


@pytest.fixture(scope="module")
def summary(file: Path) -> dict[str, Any]:
    return summarize(read_records(file))


def test_every_answer_costs_at_most_its_share(file: Path) -> None:
    records = read_records(file)
    full = records.answers["full", 1.0]
    for method, share in (("saliency", 0.6), ("saliency", 0.3), ("adafv", 0.6), ("adafv", 0.3), ("fastv", 0.6)):
        given = records.answers[f"{method} flops_ratio={share}", None]
        assert given.keys() == full.keys()
        shares = [(one.flops or 0) / (full[q].flops or 1) for q, one in given.items()]
        assert max(shares) <= share and min(shares) > 0.9 * share, (method, share)
    assert "flops_ratio must be at least" in records.unanswered["fastv flops_ratio=0.3", None][0]
    kept = {method: records.answers[f"{method} flops_ratio=0.6", None][0].kept for method in ("saliency", "fastv")}
    assert kept["saliency"] > kept["fastv"], "the layers before its own cost FastV tokens"
    assert study(file, SHARES).done == study(file, SHARES).total


def test_tables_show_them_apart(summary: dict[str, Any]) -> None:
    assert flops_shares_of(summary) == [0.6, 0.3]
    assert labels_of(summary) == ["full", "saliency", "adafv", "fastv"]
    table = equal_flops_table(summary)
    assert "60 % of FLOPs: accuracy, %" in table and "| **AdaFV** |" in table and "| FastV |" in table
    assert table.count("\n") == 5 and "FLOPs" not in main_table(summary) + paired_table(summary)
    assert table in overview(summary) and "30% of FLOPs" in text_table(summary)
    others = [test["other"] for test in summary["paired"] if test["keep"] is None]
    assert sorted(others) == ["fastv flops_ratio=0.6", "saliency flops_ratio=0.3", "saliency flops_ratio=0.6"]
    assert summary["holm"]["tests"] == 2 + 3
    assert "FastV, flops_ratio=0.3: flops_ratio must be at least" in overview(summary)
    assert ahead_at_equal_flops(summary).count("30 %") == 2


def test_the_command_on_the_page_asks_for_the_same_rows(summary: dict[str, Any]) -> None:
    words = command(summary).split()
    given = make_parser().parse_args(words[words.index("--model") :])
    rows = jobs(parse_configs(given.methods), given.keep)
    assert {(config.label, keep) for config, keep in rows} == {(row["row"], row["keep"]) for row in summary["rows"]}


def test_shares_are_checked() -> None:
    assert parse_config("adafv:flops_ratio=0.2,floor=0.25").label == "adafv floor=0.25 flops_ratio=0.2"
    assert [one.label for one in at_equal_flops(parse_configs(["t2i", "full", "oracle", "blind"]), [0.2])] == [
        "t2i flops_ratio=0.2"
    ]
    assert at_equal_flops(METHODS, []) == ()
    with pytest.raises(InputError, match="Shares of FLOPs"):
        at_equal_flops(METHODS, [0.2, 1.5])
    with pytest.raises(InputError, match="flops_ratio"):
        parse_config("adafv:flops_ratio=2")
