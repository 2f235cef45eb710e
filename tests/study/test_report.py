"""Summaries checked by hand, figures as pictures, and the README against the stored results."""

from __future__ import annotations

import json
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.study_records import records
from matplotlib.figure import Figure
from PIL import Image

from adafv_core.engine import load
from adafv_core.errors import InputError
from adafv_core.loading.fingerprint import weights_key
from adafv_core.study.data.base import images_of
from adafv_core.study.data.pocket import PocketSet
from adafv_core.study.report.documents import BEGIN, END, stored, with_section
from adafv_core.study.report.documents import main as report_main
from adafv_core.study.report.draw import FIGURES, draw, draw_panel
from adafv_core.study.report.draw import main as draw_main
from adafv_core.study.report.figures import accuracy
from adafv_core.study.report.markdown import (
    against_the_paper,
    behind,
    expectation,
    family_table,
    main_table,
    not_won,
    small_table,
)
from adafv_core.study.report.published import BENCHMARKS, LLAVA_NEXT_7B
from adafv_core.study.report.summary import summarize
from adafv_core.study.report.summary_file import read_summary, write_summary
from adafv_core.study.report.tables import text_table, with_interval
from adafv_core.study.run.configs import SEEDS, parse_configs
from adafv_core.study.run.results_file import read_records

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "assets" / "results"


@pytest.fixture(scope="module")
def summary() -> dict[str, Any]:
    return summarize(records())


def found(summary: dict[str, Any], label: str) -> dict[str, Any]:
    return next(row for row in summary["rows"] if row["row"] == label)


def test_accuracy_and_percent_of_full_together_and_apart(summary: dict[str, Any]) -> None:
    adafv = found(summary, "adafv")
    assert adafv["accuracy"]["value"] == pytest.approx(100 * 4 / 6, abs=1e-3)
    assert adafv["percent_of_full"]["value"] == pytest.approx(80.0)
    assert adafv["families"]["reading"]["accuracy"]["value"] == 50.0
    assert adafv["families"]["reading"]["n"] == 2
    assert adafv["mean_percent_of_full"]["value"] == pytest.approx((100 + 50 + 100) / 3, abs=1e-3)
    assert adafv["text_share"] == 0.4 and adafv["visual_share"] == 0.8
    assert adafv["accuracy"]["low"] <= adafv["accuracy"]["value"] <= adafv["accuracy"]["high"]
    assert summary["families"] == ["attribute", "reading", "salient"] and summary["answers_per_s"] == 5.0


def test_adafv_is_tested_against_each_other_method(summary: dict[str, Any]) -> None:
    tests = {test["other"]: test for test in summary["paired"]}
    assert set(tests) == {"saliency", "t2i"}
    assert tests["saliency"]["difference"]["value"] == pytest.approx(50.0)
    assert (tests["saliency"]["only_first"], tests["saliency"]["only_other"]) == (3, 0)
    assert tests["saliency"]["p_mcnemar"] == pytest.approx(0.25)
    assert tests["t2i"]["difference"]["value"] == pytest.approx(-100 / 6, abs=1e-3)


def test_figures_2_to_4_are_the_means_of_what_was_measured(summary: dict[str, Any]) -> None:
    figures = summary["figures"]
    assert figures["auc"]["t2i"]["mean"] == pytest.approx(0.925)
    assert figures["auc"]["t2i"]["families"] == {"attribute": 0.905, "reading": 0.925, "salient": 0.945}
    assert sum(figures["auc"]["t2i"]["counts"]) == 6
    assert figures["similarity"]["on"][60] == 18 and sum(figures["similarity"]["on"]) == 18
    assert figures["similarity"]["off"][40] == 30 and figures["similarity"]["off"][42] == 6
    assert figures["hit"]["saliency"]["mean"] == 35.0 and figures["hit"]["random"]["mean"] == pytest.approx(10.1)
    share = dict(zip(figures["hit"]["budgets"], figures["hit"]["saliency"]["share_hit"], strict=True))
    assert share[1] == 0 and share[100] == 1


def test_the_report_says_where_adafv_does_not_win(summary: dict[str, Any]) -> None:
    text = not_won(summary)
    assert "T2I attention (" in text and "salient (T2I attention 100.0, AdaFV 50.0)" in text
    assert "80.0" in expectation(summary) and "**not reached**" in expectation(summary)
    assert "| **AdaFV** | 66.7 (" in main_table(summary)
    assert "| reading (2) | 100.0 (" in family_table(summary, 0.1, ("full", "adafv"))
    assert "AdaFV  " in text_table(summary)
    assert with_interval({"value": -1.25, "low": -2.0, "high": 0.5}) == "−1.2 (−2.0 to 0.5)"
    assert with_interval({"value": None, "low": None, "high": None}) == "–"


def test_figures_are_drawn_without_a_browser(summary: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "made.json"
    write_summary(summary, file)
    assert read_summary(file) == json.loads(json.dumps(summary))
    assert draw_main([str(file)]) == 0
    drawn = sorted(tmp_path.glob("*.png"))
    assert [one.name for one in drawn] == [f"made-{figure}.png" for figure in sorted(FIGURES)]
    for one in drawn:
        picture = np.asarray(Image.open(one).convert("RGB"))
        assert picture.shape[0] >= 360 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    again = [one.read_bytes() for one in drawn]
    draw(read_summary(file), tmp_path, "made")
    assert [one.read_bytes() for one in drawn] == again, "the same summary gives the same pictures"
    assert draw_main([str(tmp_path / "none.json")]) == 2
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(InputError, match="not a study's summary"):
        read_summary(tmp_path / "other.json")


def test_figure_1_shows_every_row_in_one_panel_and_adafv_in_all() -> None:
    """Of the stored study: the panels share their scale, and no name is written over another."""
    stored = read_summary(Path(__file__).parents[2] / "assets" / "results" / "pocket.json")
    panels = [make(stored) for make in FIGURES["figure-1"]]
    names = [{one.name for one in panel.series} for panel in panels]
    assert set.intersection(*names) == {"AdaFV"}
    assert sum(map(len, names)) - 2 == len(accuracy(stored).series) and len({panel.y_range for panel in panels}) == 1
    assert {"All tokens", "Oracle", "Blind", "Random"} <= names[0] and "FastV" in names[2]
    axes = Figure(figsize=(5, 4)).subplots()
    for panel in panels:
        axes.clear()
        draw_panel(axes, panel)
        assert [text.get_text() for text in axes.texts] == sorted(
            names[panels.index(panel)], key=lambda name: next(one.y[-1] for one in panel.series if one.name == name)
        )
        heights = [text.xyann[1] for text in axes.texts]
        low, high = panel.y_range or (0, 0)
        assert all(after - before > 0.05 * (high - low) for before, after in pairwise(heights)) and heights[-1] <= high


def test_the_published_table_is_the_papers() -> None:
    assert len(BENCHMARKS) == 7 and {len(row.scores) for row in LLAVA_NEXT_7B} == {7}
    full = LLAVA_NEXT_7B[0].scores
    for row in LLAVA_NEXT_7B:
        mean = np.mean([100 * ours / whole for ours, whole in zip(row.scores, full, strict=True)])
        assert mean == pytest.approx(row.average, abs=0.6), row


def test_only_what_is_between_the_markers_changes() -> None:
    before = f"# Top\n\n{BEGIN}\nold\n{END}\n\nEnd\n"
    assert with_section(before, "new") == f"# Top\n\n{BEGIN}\nnew\n{END}\n\nEnd\n"
    assert with_section(with_section(before, "x"), "new") == with_section(before, "new")
    with pytest.raises(InputError, match="one is missing"):
        with_section("# Top\n", "new")


@pytest.mark.parametrize("changed", ["README.md", "docs/results.md"])
def test_the_documents_say_what_the_stored_results_say(changed: str, tmp_path: Path) -> None:
    """If this fails: python -m adafv_core.study.report"""
    (tmp_path / "docs").mkdir()
    texts = {}
    for name, block in zip(("README.md", "docs/results.md"), stored(RESULTS), strict=True):
        texts[name] = (ROOT / name).read_text(encoding="utf-8")
        assert texts[name] == with_section(texts[name], block)
        (tmp_path / name).write_text(texts[name], encoding="utf-8")
    files = ["--readme", str(tmp_path / "README.md"), "--page", str(tmp_path / "docs" / "results.md")]
    arguments = ["--results", str(RESULTS), *files]
    assert report_main([*arguments, "--check"]) == 0
    (tmp_path / changed).write_text(texts[changed].replace(BEGIN, f"{BEGIN}\n99.9"), encoding="utf-8")
    assert report_main([*arguments, "--check"]) == 1
    assert report_main(arguments) == 0 and (tmp_path / changed).read_text(encoding="utf-8") == texts[changed]


def test_the_readme_s_sentences_are_made_from_the_summary(summary: dict[str, Any]) -> None:
    assert small_table(summary, ("adafv", "none")) == (
        "| % of full accuracy (83.3 %) kept at | −90 % |\n| --- | --- |\n| **AdaFV** | 80.0 |\n| none | – |"
    )
    text = against_the_paper(summary)
    assert text.startswith("AdaFV keeps 80.0 % of full accuracy;") and "96.0 %, which is not reached here." in text
    better = deepcopy(summary)
    found(better, "adafv")["percent_of_full"]["value"] = 96.0
    assert "96.0 %, which is reached here." in against_the_paper(better)
    says = "More accurate than AdaFV on the same questions, at 95 % confidence, corrected for 2 tests"
    assert behind(summary) == f"{says}: no method at −90 %."
    next(test for test in better["paired"] if test["other"] == "t2i")["verdict"] = "behind"
    assert behind(better) == f"{says}: T2I attention at −90 %."
    for test in better["paired"]:  # as version 0.1 wrote it
        del test["verdict"]
    assert "no method at −90 %" in behind(better), "by the interval"
    next(test for test in better["paired"] if test["other"] == "t2i")["difference"]["high"] = -0.1
    assert "T2I attention at −90 %" in behind(better)


def test_the_stored_results_are_of_the_bundled_model_and_the_whole_study() -> None:
    """If this fails the model or the questions have changed: measure again (the command is in docs/results.md)."""
    summary = read_summary(RESULTS / "pocket.json")
    data = PocketSet()
    assert summary["model"]["weights"] == weights_key(load("pocket", device="cpu").model)
    assert summary["data"]["fingerprint"] == data.fingerprint()
    assert summary["questions"] == len(data.items) >= 1000
    assert summary["pictures"] == len(images_of(data.items)) >= 250
    labels = {row["row"] for row in summary["rows"]}
    assert labels - {row.label for row in SEEDS} == {row.label for row in parse_configs(["all"])}
    assert {row["keep"] for row in summary["rows"]} == {1.0, 0.25, 0.1, 0.05, None}
    ablation = read_summary(RESULTS / "ablation.json")
    assert ablation["data"]["name"] == "pocket validation", "choices are never made on the reported questions"
    assert ablation["model"]["weights"] == summary["model"]["weights"]


def test_the_stored_summary_follows_from_the_stored_answers() -> None:
    for name in ("pocket", "ablation"):
        again = json.loads(json.dumps(summarize(read_records(RESULTS / f"{name}.jsonl.gz"))))
        there = read_summary(RESULTS / f"{name}.json")
        assert again == there
    sizes = [file.stat().st_size for file in RESULTS.iterdir()]
    assert max(sizes) < 4_000_000
