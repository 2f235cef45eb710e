"""Study: the paper's figures from stored results, and new measurements on request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import gradio as gr
import plotly.graph_objects as go

from adafv_core.methods import METHODS
from adafv_core.study.measure.bounds import BOUNDS
from adafv_core.study.report.summary_file import Summary, write_summary
from adafv_core.study.run.configs import row_title
from adafv_core.study.run.results_writer import pack
from app.context import AppContext
from app.events import COUNT_WITH_STATE, STUDIES, WITH_STATE, job_handlers
from app.gradio_ext.components import html_view
from app.gradio_ext.inputs import AnyNumber
from app.gradio_ext.queueing import client_gone
from app.study.figures import accuracy_figure, auc_figure, auc_spread_figure, hit_figure, similarity_figure
from app.study.run import RESULTS, progress_text, read_request, run_study, stored_results, summary_of
from app.study.text import beside_published, command, details, figures_line, headline, overview
from app.wire.errors import sentence
from app.wire.parse import read_page_state

_FIRST = ("random", "saliency", "t2i", "fixed_mix", "adafv", "oracle", "blind")
_NOTHING = "No results are stored yet. Measure them below, or with `python -m adafv_core.study`."
_FILES = [".json", ".png", ".jpg", ".jpeg", ".webp"]


@dataclass(frozen=True)
class SummaryView:
    """What the tab shows of one summary: Markdown, Plotly figures (None if there is none), and paths of downloads."""

    table: str = _NOTHING
    accuracy: go.Figure | None = None
    auc: go.Figure | None = None
    spread: go.Figure | None = None
    similarity: go.Figure | None = None
    hits: go.Figure | None = None
    words: str = ""
    details: str = ""
    published: str = ""
    answers: str | None = None
    numbers: str | None = None
    command: str = "python -m adafv_core.study"

    @property
    def figures(self) -> tuple[go.Figure | None, ...]:
        """Figures 1 to 4."""
        return self.accuracy, self.auc, self.spread, self.similarity, self.hits


@dataclass(frozen=True)
class SummaryComponents:
    """The components that show a summary, by the names of `SummaryView`."""

    table: gr.Markdown
    accuracy: gr.Plot
    auc: gr.Plot
    spread: gr.Plot
    similarity: gr.Plot
    hits: gr.Plot
    words: gr.Markdown
    details: gr.Markdown
    published: gr.Markdown
    answers: gr.DownloadButton
    numbers: gr.DownloadButton
    command: gr.Code

    def all(self) -> list[gr.components.Component]:
        return [getattr(self, field.name) for field in fields(self)]

    def updates(self, view: SummaryView) -> dict[gr.components.Component, Any]:
        """What changes in each component, as Gradio takes it."""
        found: dict[gr.components.Component, Any] = {}
        for field in fields(self):
            component, value = getattr(self, field.name), getattr(view, field.name)
            if isinstance(component, gr.Plot):
                value = gr.Plot(value, visible=value is not None)
            elif isinstance(component, gr.DownloadButton):
                value = gr.DownloadButton(value=value, interactive=value is not None)
            found[component] = value
        return found


@dataclass
class StudyTab:
    """The tab's components. shown: what a summary fills."""

    stored: gr.Dropdown
    shown: SummaryComponents
    methods: gr.CheckboxGroup
    ratios: gr.CheckboxGroup
    scenes: gr.Number
    files: gr.File
    run: gr.Button
    stop: gr.Button
    progress: gr.HTML
    file: gr.State


def build(context: AppContext) -> StudyTab:
    """Build the tab; stored results show at once."""
    results = stored_results()
    first = next(iter(results.values()), None)
    view = view_of(first, *_files(next(iter(results), "")))
    choices = [(headline(summary), name) for name, summary in results.items()]
    with gr.Column(elem_id="study"):
        with gr.Row(elem_id="study-top"):
            stored = gr.Dropdown(
                choices, value=next(iter(results), None), label="Stored results", elem_id="study-stored", scale=3
            )
            data = gr.DownloadButton(
                "Answers (JSON lines)", elem_id="study-answers", size="md", **_download(view.answers)
            )
            numbers = gr.DownloadButton("Summary (JSON)", elem_id="study-summary", size="md", **_download(view.numbers))
        table = gr.Markdown(view.table, elem_id="study-table")
        accuracy = _plot(view.accuracy, "study-figure-1")
        words = gr.Markdown(view.words, elem_id="study-words")
        with gr.Row(elem_classes="study-figures"):
            auc, spread = _half(view.auc, "study-figure-2"), _half(view.spread, "study-figure-2-spread")
        with gr.Row(elem_classes="study-figures"):
            similarity, hit = _half(view.similarity, "study-figure-3"), _half(view.hits, "study-figure-4")
        with gr.Accordion(
            "Question families, paired tests, where AdaFV does not win", open=False, elem_id="study-more"
        ):
            more = gr.Markdown(view.details, elem_id="study-details")
        with gr.Accordion("Comparison with the published LLaVA-NeXT-7B results", open=False, elem_id="study-beside"):
            published = gr.Markdown(view.published, elem_id="study-published")
        again = gr.Code(
            view.command,
            language=None,
            label="Command that reproduces these results",
            interactive=False,
            wrap_lines=True,
            lines=1,
            elem_id="study-command",
        )
        with gr.Accordion("Measure again", open=False, elem_id="study-again"):
            methods = gr.CheckboxGroup(
                [(row_title(name), name) for name in (*METHODS, *BOUNDS) if name != "full"],
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
                label="Or your own data: pictures and a COCO or VQA .json file",
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
    shown = SummaryComponents(
        table, accuracy, auc, spread, similarity, hit, words, more, published, data, numbers, again
    )
    return StudyTab(stored, shown, methods, ratios, scenes, files, run, stop, progress, gr.State({}))


def _plot(figure: Any, place: str) -> gr.Plot:
    return gr.Plot(figure, show_label=False, elem_id=place, elem_classes="figure", visible=figure is not None)


def _half(figure: Any, place: str) -> gr.Plot:
    """Half a row; the whole width where the page is narrow."""
    with gr.Column(min_width=320):
        return _plot(figure, place)


def bind(context: AppContext, tab: StudyTab, keep: gr.HTML) -> None:
    """Connect the tab's events. keep: carries the state of the page."""
    service = context.service
    supersede, stop_study = job_handlers(context, lambda session: session.studying)

    def choose(name: Any) -> dict[gr.components.Component, Any]:
        results = stored_results()
        known = name if name in results else next(iter(results), "")
        return tab.shown.updates(view_of(results.get(known), *_files(known)))

    def measure(
        request: gr.Request, keep: Any, methods: Any, ratios: Any, scenes: Any, files: Any, begun: dict[str, str]
    ) -> Iterator[dict[gr.components.Component, Any]]:
        state = None
        try:
            page = read_page_state(keep)
            session = service.session(request.session_hash, page)
            stop = session.studying.begin(page.number, client_gone(request))
            wanted = read_request(service, session.model, methods, ratios, scenes, files)
            begun = (
                begun
                if begun.get("key") == wanted.key
                else {
                    "key": wanted.key,
                    "file": str(context.exports.place("adafv-study.jsonl")),
                }
            )
            file = Path(begun["file"])
            for state in run_study(service, wanted, file, stop):
                yield {tab.progress: progress_text(state), tab.file: begun}
        except Exception as error:
            text = json.dumps({"share": None, "text": sentence(error), "level": "error"})
            yield {tab.progress: text, tab.file: begun}
            return
        line = progress_text(state, stop.is_set() and state.done < state.total) if state else gr.skip()
        summary = summary_of(file)
        if summary is None:
            yield {tab.progress: line, tab.file: begun}
            return
        view = view_of(summary, *_written(context, summary, file))
        yield {tab.progress: line, tab.file: begun, tab.stored: gr.Dropdown(value=None), **tab.shown.updates(view)}

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    tab.stored.input(choose, tab.stored, tab.shown.all(), **private)
    tab.run.click(supersede, keep, js=COUNT_WITH_STATE, queue=False, **private).then(
        measure,
        [keep, tab.methods, tab.ratios, tab.scenes, tab.files, tab.file],
        [tab.progress, tab.file, tab.stored, *tab.shown.all()],
        js=WITH_STATE,
        **STUDIES,
        **private,
    )
    tab.stop.click(stop_study, keep, js=WITH_STATE, queue=False, **private)


def _files(name: str) -> tuple[str | None, str | None]:
    """Paths of the stored answers and summary of this name; None for a file that does not exist."""
    paths = (RESULTS / f"{name}.jsonl.gz", RESULTS / f"{name}.json")
    first, second = (str(path) if name and path.exists() else None for path in paths)
    return first, second


def _written(context: AppContext, summary: Summary, file: Path) -> tuple[str, str]:
    """Write a study from the page as two files to download; returns their paths."""
    numbers, packed = context.exports.place("adafv-study.json"), context.exports.place("adafv-study.jsonl.gz")
    write_summary(summary, numbers)
    pack(file, packed)
    return str(packed), str(numbers)


def view_of(summary: Summary | None, answers: str | None, numbers: str | None) -> SummaryView:
    """What the tab shows of a summary. answers, numbers: paths of the files to download."""
    if summary is None:
        return SummaryView(answers=answers, numbers=numbers)
    drawn = summary if summary["figures"] else None
    return SummaryView(
        table=overview(summary),
        accuracy=accuracy_figure(summary) if summary["rows"] else None,
        auc=drawn and auc_figure(drawn),
        spread=drawn and auc_spread_figure(drawn),
        similarity=drawn and similarity_figure(drawn),
        hits=drawn and hit_figure(drawn),
        words=figures_line(summary),
        details=details(summary),
        published=beside_published(summary),
        answers=answers,
        numbers=numbers,
        command=command(summary),
    )


def _download(path: str | None) -> dict[str, Any]:
    return {"value": path, "interactive": path is not None}
