"""Sweep: methods × keep ratios on the image and question of Explore."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from adafv_core.methods import METHODS
from app.context import AppContext
from app.events import COUNT_WITH_STATE, PRIVATE, SILENT, SWEEPS, WITH_STATE, job_handlers
from app.explore.tab import Explore, read_request
from app.gradio_ext.components import html_view
from app.gradio_ext.queueing import client_gone
from app.sweep.charts import agreement_figure, kl_figure
from app.sweep.run import progress_text, read_sweep, run_sweep, sweep_csv, sweep_json, sweep_view
from app.wire.errors import sentence
from app.wire.parse import read_page_state

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
    """Build the tab."""
    names = [name for name in METHODS if name != "full"]
    gr.Markdown(
        "Runs every chosen method at every chosen keep ratio on the image and question of the Explore tab, and "
        "compares each answer with the one from all visual tokens.",
        elem_id="sweep-intro",
    )
    with gr.Row(elem_id="sweep-row"):
        methods = gr.CheckboxGroup(
            [(METHODS[name].title, name) for name in names],
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
            kl = gr.Plot(show_label=False, elem_id="sweep-kl", elem_classes="figure", visible=False)
        with gr.Column(min_width=320):
            agreement = gr.Plot(show_label=False, elem_id="sweep-agreement", elem_classes="figure", visible=False)
    return SweepTab(methods, ratios, run, stop, progress, table, kl, agreement, csv, json_button)


def bind(context: AppContext, tab: SweepTab, explore: Explore) -> None:
    """Connect the tab's events. explore: provides the image, question and settings of the sweep."""
    service = context.service
    outputs = [tab.progress, tab.table, tab.kl, tab.agreement, tab.csv, tab.json]
    supersede, stop = job_handlers(context, lambda session: session.sweeping)

    def sweep(
        request: gr.Request, page_state: str, methods: Any, keep_ratios: Any, **values: Any
    ) -> Iterator[dict[gr.components.Component, Any]]:
        try:
            state = read_page_state(page_state)
            session = service.session(request.session_hash, state)
            asked = read_request(context, state.choice, values, session.model)
            cells = read_sweep(methods, keep_ratios)
        except Exception as error:
            yield {tab.progress: json.dumps({"share": None, "text": sentence(error), "level": "error"})}
            return
        figures, files = (tab.kl, tab.agreement), (tab.csv, tab.json)
        yield {
            **{figure: gr.Plot(visible=False) for figure in figures},
            **{file: gr.DownloadButton(interactive=False) for file in files},
        }
        result = None
        for result in run_sweep(service, session, asked, cells, state.number, client_gone(request)):
            yield {tab.progress: progress_text(result), tab.table: json.dumps(sweep_view(result))}
        if result is not None and result.rows:
            csv = context.exports.write("adafv-sweep.csv", sweep_csv(result))
            json_file = context.exports.write("adafv-sweep.json", sweep_json(result))
            yield {
                tab.kl: gr.Plot(kl_figure(result.rows), visible=True),
                tab.agreement: gr.Plot(agreement_figure(result.rows), visible=True),
                tab.csv: gr.DownloadButton(value=csv, interactive=True),
                tab.json: gr.DownloadButton(value=json_file, interactive=True),
            }

    tab.run.click(supersede, explore.keep, js=COUNT_WITH_STATE, **SILENT).then(
        sweep,
        explore.keep,
        outputs,
        inputs_kwargs={"methods": tab.methods, "keep_ratios": tab.ratios, **explore.inputs},
        js=WITH_STATE,
        **SWEEPS,
        trigger_mode="multiple",
        **PRIVATE,
    )
    tab.stop.click(stop, explore.keep, js=WITH_STATE, **SILENT)
