"""The Study tab: figures from plain summaries, a study on request with Stop, and its endpoints."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client
from helpers.app_context import shared_address, shared_context
from helpers.study_records import records
from helpers.study_sample import coco, write_pictures

from adafv_core.engine.gate import StopSignal
from adafv_core.errors import AdaFVError, InputError
from adafv_core.study.data.pocket import STUDY_SCENES, PocketSet
from adafv_core.study.report.draw import FIGURES
from adafv_core.study.report.figures import accuracy
from adafv_core.study.report.summary import summarize
from adafv_core.study.run.configs import parse_configs
from adafv_core.study.run.results_file import read_records
from app.study.figures import (
    accuracy_figure,
    auc_figure,
    auc_spread_figure,
    hit_figure,
    plotly_figure,
    similarity_figure,
)
from app.study.run import progress_text, read_request, run_study, stored_results, summary_of
from app.study.tab import view_of
from app.study.text import command, details, headline, overview


@pytest.fixture(scope="module")
def summary() -> dict[str, Any]:
    return summarize(records())


def lines_of(figure: Any) -> dict[str, Any]:
    return {trace.name: trace for trace in figure.data}


def test_figure_1_has_a_line_a_method_with_its_interval(summary: dict[str, Any]) -> None:
    lines = lines_of(accuracy_figure(summary))
    assert set(lines) == {"All tokens", "AdaFV", "Saliency", "T2I attention", "Blind"}
    assert list(lines["AdaFV"].x) == [1.0, 0.1]
    assert lines["AdaFV"].y[1] == pytest.approx(100 * 4 / 6, abs=1e-3)
    assert lines["AdaFV"].y[0] == pytest.approx(100 * 5 / 6, abs=1e-3), "with everything kept it is full"
    assert lines["AdaFV"].y[1] + lines["AdaFV"].error_y.array[1] == pytest.approx(
        next(row for row in summary["rows"] if row["row"] == "adafv")["accuracy"]["high"]
    )


def test_an_interval_that_ends_at_zero_is_drawn_to_its_end(summary: dict[str, Any]) -> None:
    ends = {"value": 20.0, "low": 0.0, "high": 50.0}
    rows = [{**row, "accuracy": {**row["accuracy"], **ends}} for row in summary["rows"]]
    drawn = lines_of(accuracy_figure({**summary, "rows": rows}))["AdaFV"].error_y
    assert set(drawn.arrayminus) == {20.0} and set(drawn.array) == {30.0}
    rows = [{**row, "accuracy": {**row["accuracy"], "low": None, "high": None}} for row in rows]
    drawn = lines_of(accuracy_figure({**summary, "rows": rows}))["AdaFV"].error_y
    assert set(drawn.arrayminus) == set(drawn.array) == {0.0}


def test_figures_2_to_4_show_the_summary(summary: dict[str, Any]) -> None:
    bars = [trace for trace in auc_figure(summary).data if trace.type == "bar"]
    assert list(bars[0].y) == ["all", "attribute", "reading", "salient"] and bars[0].x[0] == pytest.approx(0.925)
    similar = lines_of(similarity_figure(summary))
    assert max(similar["on the object"].y) == 100.0, "all 18 tokens are in one bin"
    hit = lines_of(hit_figure(summary))
    name = next(name for name in hit if name.startswith("[CLS]"))
    assert name.endswith("mean 35.0") and hit[name].y[-1] == 100.0


def test_page_and_picture_files_draw_the_same_figures_in_the_same_colors(summary: dict[str, Any]) -> None:
    drawn = {
        plotly_figure(make(summary)).layout.title.text: make(summary) for both in FIGURES.values() for make in both
    }
    drawn[accuracy_figure(summary).layout.title.text] = accuracy(summary)
    assert len(drawn) == 8, "no two figures have one title"
    page = (accuracy_figure, auc_figure, auc_spread_figure, similarity_figure, hit_figure)
    for figure in (make(summary) for make in page):
        data = drawn[figure.layout.title.text]
        assert [trace.name for trace in figure.data] == [one.name for one in data.series]
        shown = [trace.marker.color if data.kind == "bars" else trace.line.color for trace in figure.data]
        assert shown == [one.color for one in data.series]


def test_text_command_and_headline(summary: dict[str, Any]) -> None:
    assert "| **AdaFV** | 66.7 (" in overview(summary)
    assert "Where AdaFV does not win" in details(summary)
    assert "−90 %: 80.0 %" in headline(summary)
    study = {**summary, "data": {"name": "pocket study", "pictures": 3}, "model": {"name": "pocket"}}
    study["rows"] = [*summary["rows"], {**summary["rows"][1], "row": "adafv floor=0.25"}]
    said = command(study).split()
    assert said[:5] == ["python", "-m", "adafv_core.study", "--model", "pocket"]
    assert "adafv:floor=0.25" in said and said[-4:] == ["--split", "study", "--scenes", "3"]
    methods = said[said.index("--methods") + 1 : said.index("--keep")]
    assert [row.label for row in parse_configs(methods)] == list(dict.fromkeys(row["row"] for row in study["rows"]))


def test_an_empty_folder_of_results_says_how_to_get_some(tmp_path: Path) -> None:
    assert stored_results(tmp_path / "none") == {} and stored_results(tmp_path) == {}
    shown = view_of(None, None, None)
    assert "python -m adafv_core.study" in shown.table and shown.figures == (None,) * 5


def test_stored_results_are_shown_whole() -> None:
    for name, stored in stored_results().items():
        shown = view_of(stored, None, None)
        assert all(figure is not None for figure in shown.figures), name


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"methods": ["nothing"]}, "There is no method 'nothing'"),
        ({"methods": []}, "at least one entry"),
        ({"methods": ["adafv:floor=0.1"]}, "There is no method"),
        ({"ratios": [7]}, "Keep ratios are fractions"),
        ({"ratios": ["abc"]}, "Each of keep_ratios must be a number, 0.1 for example; got 'abc'"),
        ({"ratios": [float("nan")]}, "Each of keep_ratios must be a number"),
        ({"scenes": 0}, "scenes must be a whole number from 1"),
        ({"scenes": STUDY_SCENES + 1}, "scenes must be a whole number from 1"),
        ({"files": ["notes.json"]}, "pictures and at least one annotation file"),
        ({"files": ["one.png"]}, "pictures and at least one annotation file"),
        ({"files": ["n.json", *(f"{number}.png" for number in range(501))]}, "at most 500 pictures"),
    ],
)
def test_requests_are_checked(changes: dict[str, Any], says: str) -> None:
    wanted = {"methods": ["adafv"], "ratios": [0.1], "scenes": 2, "files": None, **changes}
    with pytest.raises(AdaFVError, match=says):
        read_request(shared_context().service, "pocket", *wanted.values())


def test_stop_ends_after_a_batch_and_run_goes_on(tmp_path: Path) -> None:
    service, stop, file = shared_context().service, threading.Event(), tmp_path / "study.jsonl"
    wanted = read_request(service, "pocket", ["adafv"], [0.1], 5, None)
    steps = []
    for step in run_study(service, wanted, file, stop):
        steps.append(step)
        if step.done:
            stop.set()
    total = 2 * len(PocketSet("study", 5).items)
    assert 0 < steps[-1].done < total == steps[-1].total
    assert "Run continues from there" in json.loads(progress_text(steps[-1], stopped=True))["text"]
    *_, last = run_study(service, wanted, file, threading.Event())
    assert last.done == total and json.loads(progress_text(last))["text"] == f"All {total} answers are in."
    found = summary_of(file)
    assert found is not None and {row["row"] for row in found["rows"]} == {"full", "adafv"}


@pytest.mark.local
def test_stop_ends_a_study_that_waits_for_the_model(tmp_path: Path) -> None:
    service, stop, file = shared_context().service, StopSignal(), tmp_path / "study.jsonl"
    request = read_request(service, "pocket", ["adafv"], [0.1], 2, None)
    ended = threading.Event()

    def run() -> None:
        list(run_study(service, request, file, stop))
        ended.set()

    with service.pool.engine("pocket").gate.turn():
        threading.Thread(target=run).start()
        assert not ended.wait(0.5), "it waits"
        stop.set()
        assert ended.wait(10), "it gives up although the model is still in use"
    *_, last = run_study(service, request, file, StopSignal())
    found = read_records(file)
    assert last.done == last.total and not found.omitted and not any(found.unanswered.values())


@pytest.mark.local
def test_others_get_the_model_between_two_batches(tmp_path: Path) -> None:
    service = shared_context().service
    wanted = read_request(service, "pocket", ["adafv"], [0.1], 2, None)
    for _ in run_study(service, wanted, tmp_path / "study.jsonl", threading.Event()):
        with service.pool.engine("pocket").gate.turn():
            pass


def test_own_pictures_through_the_page(tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures")
    (tmp_path / "notes.json").write_text(json.dumps(coco()))
    files = [*(str(file) for file in pictures.iterdir()), str(tmp_path / "notes.json")]
    wanted = read_request(shared_context().service, "pocket", ["adafv", "oracle"], [0.1], None, files)
    list(run_study(shared_context().service, wanted, tmp_path / "own.jsonl", threading.Event()))
    found = summary_of(tmp_path / "own.jsonl")
    assert found is not None and found["families"] == ["attribute", "counting"]
    (pictures / "one.png").write_text("<html>")
    with pytest.raises(AdaFVError, match="not a picture"):
        wanted.data.picture("one.png")
    (tmp_path / "notes.json").write_text('{"images": [}')
    with pytest.raises(InputError, match=r"notes.json, line 1: not JSON"):
        read_request(shared_context().service, "pocket", ["adafv"], [0.1], None, files)


def test_endpoints_measure_and_hand_out_stored_results() -> None:
    client = Client(shared_address(), verbose=False)
    found = client.predict(["adafv"], [0.1], 1, api_name="/study")
    assert {row["row"] for row in found["rows"]} == {"full", "adafv"} and found["model"]["name"] == "pocket"
    assert set(client.predict(api_name="/study_results")) == set(stored_results())
    with pytest.raises(Exception, match="There is no method") as raised:
        client.predict(["nothing"], [0.1], 1, api_name="/study")
    assert "Traceback" not in str(raised.value)
