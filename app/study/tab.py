"""Study: the paper's figures from stored measurements, and measured again on request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_function_description

from adafv_core.methods import METHODS
from adafv_core.study.measure.bounds import BOUNDS
from adafv_core.study.report.summary_file import Summary, write_summary
from adafv_core.study.run.results_file import pack
from app.context import AppContext
from app.events import COUNT_WITH_STATE, WITH_STATE, job_handlers
from app.gradio_ext.blocks import with_gradio_errors
from app.gradio_ext.components import html_view
from app.gradio_ext.inputs import AnyNumber, JsonList
from app.study.figures import accuracy_figure, auc_figure, auc_spread_figure, hit_figure, similarity_figure
from app.study.run import RESULTS, progress_text, read_wish, run_study, stored_results, summary_of
from app.study.text import beside_published, command, details, figures_line, headline, overview
from app.wire.errors import sentence
from app.wire.parse import read_page_state

_FIRST = ("random", "saliency", "t2i", "fixed_mix", "adafv", "oracle", "blind")
_NOTHING = "No results are stored yet. Measure them below, or with `python -m adafv_core.study`."
_FILES = [".json", ".png", ".jpg", ".jpeg", ".webp"]


@dataclass
class StudyTab:
    """The tab's components. shown: what a summary fills, in the order of `_show`."""

    stored: gr.Dropdown
    shown: list[gr.components.Component]
    methods: gr.CheckboxGroup
    ratios: gr.CheckboxGroup
    scenes: gr.Number
    files: gr.File
    run: gr.Button
    stop: gr.Button
    progress: gr.HTML
    file: gr.State


def build(context: AppContext) -> StudyTab:
    """Lay the tab out, stored results shown at once."""
    results = stored_results()
    first = next(iter(results.values()), None)
    values = _show(first, *_files(next(iter(results), "")))
    choices = [(headline(summary), name) for name, summary in results.items()]
    with gr.Column(elem_id="study"):
        with gr.Row(elem_id="study-top"):
            stored = gr.Dropdown(
                choices, value=next(iter(results), None), label="Stored results", elem_id="study-stored", scale=3
            )
            data = gr.DownloadButton("Answers (JSON lines)", elem_id="study-answers", size="md", **values[9])
            numbers = gr.DownloadButton("Summary (JSON)", elem_id="study-summary", size="md", **values[10])
        table = gr.Markdown(values[0], elem_id="study-table")
        accuracy = _plot(values[1], "study-figure-1")
        words = gr.Markdown(values[6], elem_id="study-words")
        with gr.Row(elem_classes="study-figures"):
            auc, spread = _half(values[2], "study-figure-2"), _half(values[3], "study-figure-2-spread")
        with gr.Row(elem_classes="study-figures"):
            similarity, hit = _half(values[4], "study-figure-3"), _half(values[5], "study-figure-4")
        with gr.Accordion("Families, paired tests, where AdaFV does not win", open=False, elem_id="study-more"):
            more = gr.Markdown(values[7], elem_id="study-details")
        with gr.Accordion("Beside the published LLaVA-NeXT-7B table", open=False, elem_id="study-beside"):
            published = gr.Markdown(values[8], elem_id="study-published")
        again = gr.Code(
            values[11],
            language=None,
            label="The command",
            interactive=False,
            wrap_lines=True,
            lines=1,
            elem_id="study-command",
        )
        with gr.Accordion("Measure again", open=False, elem_id="study-again"):
            methods = gr.CheckboxGroup(
                [*(name for name in METHODS if name != "full"), *BOUNDS],
                value=list(_FIRST),
                label="Methods",
                elem_id="study-methods",
            )
            with gr.Row():
                ratios = gr.CheckboxGroup(
                    [(f"{100 * ratio:g} %", ratio) for ratio in (0.5, 0.25, 0.1, 0.05, 0.025)],
                    value=[0.25, 0.1, 0.05],
                    label="Keep ratios",
                    elem_id="study-ratios",
                )
                scenes = AnyNumber(40, label="Scenes, about 6.6 questions each", precision=0, elem_id="study-scenes")
            files = gr.File(
                label="Or your own: pictures and a COCO or VQA .json",
                file_count="multiple",
                file_types=_FILES,
                type="filepath",
                elem_id="study-files",
                height=120,
            )
            with gr.Row(elem_id="study-buttons"):
                run = gr.Button("Run study", variant="primary", elem_id="study-run", size="md")
                stop = gr.Button("Stop", elem_id="study-stop", size="md")
            progress = html_view("progress", elem_id="study-progress")
    shown = [table, accuracy, auc, spread, similarity, hit, words, more, published, data, numbers, again]
    return StudyTab(stored, shown, methods, ratios, scenes, files, run, stop, progress, gr.State({}))


def _plot(figure: Any, place: str) -> gr.Plot:
    return gr.Plot(figure, show_label=False, elem_id=place, visible=figure is not None)


def _half(figure: Any, place: str) -> gr.Plot:
    """Half a row; the whole width where the page is narrow."""
    with gr.Column(min_width=320):
        return _plot(figure, place)


def bind(context: AppContext, tab: StudyTab, keep: gr.HTML) -> None:
    """Wire the tab and add the endpoints /study_results and /study. keep: where the page's words come."""
    service = context.service
    supersede, stop_study = job_handlers(context, lambda session: session.studying)

    def choose(name: Any) -> list[Any]:
        results = stored_results()
        known = name if name in results else next(iter(results), "")
        return _updates(results.get(known), *_files(known))

    def measure(
        request: gr.Request, keep: Any, methods: Any, ratios: Any, scenes: Any, files: Any, begun: dict[str, str]
    ) -> Iterator[tuple[Any, ...]]:
        nothing = [gr.skip()] * (1 + len(tab.shown))
        state = None
        try:
            page = read_page_state(keep)
            session = service.session(request.session_hash, page)
            stop = session.studying.begin(page.number)
            wish = read_wish(service, session.model, methods, ratios, scenes, files)
            begun = (
                begun
                if begun.get("key") == wish.key
                else {
                    "key": wish.key,
                    "file": str(context.exports.place("adafv-study.jsonl")),
                }
            )
            file = Path(begun["file"])
            for state in run_study(service, wish, file, stop):
                yield progress_text(state), begun, *nothing
        except Exception as error:
            yield json.dumps({"share": None, "text": sentence(error), "level": "error"}), begun, *nothing
            return
        line = progress_text(state, stop.is_set() and state.done < state.total) if state else gr.skip()
        summary = summary_of(file)
        if summary is None:
            yield line, begun, *nothing
            return
        yield line, begun, gr.Dropdown(value=None), *_updates(summary, *_written(context, summary, file))

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    tab.stored.input(choose, tab.stored, tab.shown, **private)
    tab.run.click(supersede, keep, js=COUNT_WITH_STATE, queue=False, **private).then(
        measure,
        [keep, tab.methods, tab.ratios, tab.scenes, tab.files, tab.file],
        [tab.progress, tab.file, tab.stored, *tab.shown],
        js=WITH_STATE,
        concurrency_id="study",
        concurrency_limit=1,
        **private,
    )
    tab.stop.click(stop_study, keep, js=WITH_STATE, queue=False, **private)
    _add_endpoints(context)


def _add_endpoints(context: AppContext) -> None:
    def study_results() -> dict[str, Summary]:
        """Stored studies by name: accuracy of every method and budget, paired tests, figures 1 to 4."""
        return with_gradio_errors(stored_results)

    def study(request: gr.Request, methods: Any, keep_ratios: Any, scenes: Any) -> Summary | None:
        """Measure methods at keep ratios on scenes of the bundled data set; returns the summary.

        Args:
            methods: Names of pruning methods, oracle, blind.
            keep_ratios: Fractions of visual tokens kept, each above 0 and at most 1.
            scenes: Scenes of the bundled data set, about 6.6 questions each.
        """

        def work() -> Summary | None:
            session = context.service.sessions.of(request.session_hash)
            wish = read_wish(context.service, session.model, methods, keep_ratios, scenes, None)
            file = context.exports.place("adafv-study.jsonl")
            for _ in run_study(context.service, wish, file, session.studying.begin()):
                pass
            return summary_of(file)

        return with_gradio_errors(work)

    said = get_function_description(study)[1]
    methods = JsonList(["saliency", "adafv"], items="string", label=said["methods"], visible=False)
    keep_ratios = JsonList([0.1], items="number", label=said["keep_ratios"], visible=False)
    scenes = AnyNumber(20, label=said["scenes"], visible=False)
    result = gr.JSON(visible=False)
    trigger = gr.Button(visible=False)
    trigger.click(study_results, None, result, api_name="study_results")
    trigger.click(
        study, [methods, keep_ratios, scenes], result, api_name="study", concurrency_id="study", concurrency_limit=1
    )


def _files(name: str) -> tuple[str | None, str | None]:
    """Stored answers and summary of a name; None for what is not there."""
    paths = (RESULTS / f"{name}.jsonl.gz", RESULTS / f"{name}.json")
    first, second = (str(path) if name and path.exists() else None for path in paths)
    return first, second


def _written(context: AppContext, summary: Summary, file: Path) -> tuple[str, str]:
    """A study from the page as two files to download."""
    numbers, packed = context.exports.place("adafv-study.json"), context.exports.place("adafv-study.jsonl.gz")
    write_summary(summary, numbers)
    pack(file, packed)
    return str(packed), str(numbers)


def _show(summary: Summary | None, answers: str | None, numbers: str | None) -> list[Any]:
    """Values of everything that shows a summary: Markdown and figures as they are, downloads as options."""
    downloads = [{"value": path, "interactive": path is not None} for path in (answers, numbers)]
    if summary is None:
        return [_NOTHING, *[None] * 5, "", "", "", *downloads, "python -m adafv_core.study"]
    drawn = [accuracy_figure(summary) if summary["rows"] else None]
    makers = (auc_figure, auc_spread_figure, similarity_figure, hit_figure)
    drawn += [make(summary) if summary["figures"] else None for make in makers]
    texts = [figures_line(summary), details(summary), beside_published(summary)]
    return [overview(summary), *drawn, *texts, *downloads, command(summary)]


def _updates(summary: Summary | None, answers: str | None, numbers: str | None) -> list[Any]:
    """The same as changes to components that are already there."""
    values = _show(summary, answers, numbers)
    plots = [gr.Plot(figure, visible=figure is not None) for figure in values[1:6]]
    downloads = [gr.DownloadButton(**options) for options in values[9:11]]
    return [values[0], *plots, *values[6:9], *downloads, values[11]]
