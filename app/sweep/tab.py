"""Sweep: methods × keep ratios on the image and question of Explore."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from adafv_core.methods import METHODS
from app.context import AppContext
from app.events import COUNTED_AND_SENT, SENT, asking
from app.explore.tab import Explore, read_question
from app.gradio_ext.components import html_view
from app.sweep.charts import agreement_figure, kl_figure
from app.sweep.run import progress_text, read_sweep, run_sweep, sweep_csv, sweep_json, sweep_view
from app.wire.errors import sentence
from app.wire.parse import read_shown

RATIOS = (0.5, 0.25, 0.1, 0.05, 0.025)
_FIRST_METHODS = ("random", "saliency", "t2i", "fixed_mix", "adafv")


@dataclass
class SweepTab:
    """The tab's components."""

    methods: gr.CheckboxGroup
    ratios: gr.CheckboxGroup
    run: gr.Button
    stop: gr.Button
    progress: gr.HTML
    table: gr.HTML
    kl: gr.Plot
    agreement: gr.Plot
    csv: gr.DownloadButton
    json: gr.DownloadButton


def build(context: AppContext) -> SweepTab:
    """Lay the tab out."""
    names = [name for name in METHODS if name != "full"]
    gr.Markdown(
        "Every chosen method at every chosen keep ratio, on the image and question of the Explore tab, "
        "each answer beside the one from all visual tokens.",
        elem_id="sweep-intro",
    )
    with gr.Row(elem_id="sweep-row"):
        methods = gr.CheckboxGroup(
            names,
            value=[name for name in _FIRST_METHODS if name in names],
            label="Methods",
            elem_id="sweep-methods",
        )
        ratios = gr.CheckboxGroup(
            [(f"{100 * ratio:g} %", ratio) for ratio in RATIOS],
            value=[0.25, 0.1, 0.05],
            label="Keep ratios",
            elem_id="sweep-ratios",
        )
    with gr.Row(elem_id="sweep-buttons"):
        run = gr.Button("Run sweep", variant="primary", elem_id="sweep-run", size="md")
        stop = gr.Button("Stop", elem_id="sweep-stop", size="md")
        csv = gr.DownloadButton("CSV", interactive=False, elem_id="sweep-csv", size="md")
        json_button = gr.DownloadButton("JSON", interactive=False, elem_id="sweep-json", size="md")
    progress = html_view("progress")
    table = html_view("sweeptable")
    with gr.Row(elem_id="sweep-figures"):
        with gr.Column(min_width=320):
            kl = gr.Plot(show_label=False, elem_id="sweep-kl", visible=False)
        with gr.Column(min_width=320):
            agreement = gr.Plot(show_label=False, elem_id="sweep-agreement", visible=False)
    return SweepTab(methods, ratios, run, stop, progress, table, kl, agreement, csv, json_button)


def bind(context: AppContext, tab: SweepTab, asked: Explore) -> None:
    """Wire the tab."""
    service = context.service
    outputs = [tab.progress, tab.table, tab.kl, tab.agreement, tab.csv, tab.json]

    order, halt = asking(context, lambda session: session.sweeping)

    def sweep(request: gr.Request, *values: Any) -> Iterator[tuple[Any, ...]]:
        *asked_values, methods, ratios = values
        try:
            shown = read_shown(values[0])
            session = service.session(request.session_hash, shown)
            question = read_question(context, *asked_values)
            cells = read_sweep(methods, ratios)
        except Exception as error:
            yield json.dumps({"share": None, "text": sentence(error), "level": "error"}), *([gr.skip()] * 5)
            return
        hidden = [gr.Plot(visible=False)] * 2
        yield gr.skip(), gr.skip(), *hidden, *([gr.DownloadButton(interactive=False)] * 2)
        state = None
        for state in run_sweep(service, session, question, cells, shown.asked):
            yield progress_text(state), json.dumps(sweep_view(state)), *([gr.skip()] * 4)
        if state is not None and state.rows:
            yield (
                gr.skip(),
                gr.skip(),
                gr.Plot(kl_figure(state.rows), visible=True),
                gr.Plot(agreement_figure(state.rows), visible=True),
                gr.DownloadButton(value=context.exports.write("adafv-sweep.csv", sweep_csv(state)), interactive=True),
                gr.DownloadButton(value=context.exports.write("adafv-sweep.json", sweep_json(state)), interactive=True),
            )

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    tab.run.click(order, asked.keep, js=COUNTED_AND_SENT, queue=False, **private).then(
        sweep,
        [*asked.asked, tab.methods, tab.ratios],
        outputs,
        js=SENT,
        concurrency_id="sweep",
        concurrency_limit=1,
        trigger_mode="multiple",
        **private,
    )
    tab.stop.click(halt, asked.keep, js=SENT, queue=False, **private)
