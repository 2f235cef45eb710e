"""Sweep: methods × keep ratios on the image and question of Explore."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from adafv_core.errors import AdaFVError
from adafv_core.methods import METHODS
from app.charts import agreement_figure, kl_figure
from app.parts import part
from app.site import Site
from app.sweeping import progress_text, read_sweep, run_sweep, sweep_csv, sweep_json, sweep_view
from app.tabs.explore import Explore, read_question

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


def build(site: Site) -> SweepTab:
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
            [(f"{100 * ratio:g} %", ratio) for ratio in RATIOS], value=[0.25, 0.1, 0.05], label="Keep ratios",
            elem_id="sweep-ratios",
        )  # fmt: skip
    with gr.Row(elem_id="sweep-buttons"):
        run = gr.Button("Run sweep", variant="primary", elem_id="sweep-run", size="md")
        stop = gr.Button("Stop", elem_id="sweep-stop", size="md")
        csv = gr.DownloadButton("CSV", interactive=False, elem_id="sweep-csv", size="md")
        json_button = gr.DownloadButton("JSON", interactive=False, elem_id="sweep-json", size="md")
    progress = part("progress")
    table = part("sweeptable")
    with gr.Row(elem_id="sweep-figures"):
        with gr.Column(min_width=320):
            kl = gr.Plot(show_label=False, elem_id="sweep-kl", visible=False)
        with gr.Column(min_width=320):
            agreement = gr.Plot(show_label=False, elem_id="sweep-agreement", visible=False)
    return SweepTab(methods, ratios, run, stop, progress, table, kl, agreement, csv, json_button)


def bind(site: Site, tab: SweepTab, asked: Explore) -> None:
    """Wire the tab."""
    desk = site.desk
    outputs = [tab.progress, tab.table, tab.kl, tab.agreement, tab.csv, tab.json]

    def signal_stop(request: gr.Request) -> None:
        desk.visits.of(request.session_hash).stop.set()

    def sweep(request: gr.Request, methods: Any, ratios: Any, *values: Any) -> Iterator[tuple[Any, ...]]:
        visit = desk.visits.of(request.session_hash)
        try:
            question = read_question(site, *values)
            cells = read_sweep(methods, ratios)
        except AdaFVError as error:
            yield json.dumps({"share": None, "text": str(error), "level": "error"}), *([gr.skip()] * 5)
            return
        hidden = [gr.Plot(visible=False)] * 2
        yield gr.skip(), gr.skip(), *hidden, *([gr.DownloadButton(interactive=False)] * 2)
        state = None
        for state in run_sweep(desk, visit, question, cells):
            yield progress_text(state), json.dumps(sweep_view(state)), *([gr.skip()] * 4)
        if state is not None and state.rows:
            yield (
                gr.skip(),
                gr.skip(),
                gr.Plot(kl_figure(state.rows), visible=True),
                gr.Plot(agreement_figure(state.rows), visible=True),
                gr.DownloadButton(value=site.exports.write("adafv-sweep.csv", sweep_csv(state)), interactive=True),
                gr.DownloadButton(value=site.exports.write("adafv-sweep.json", sweep_json(state)), interactive=True),
            )

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    tab.run.click(signal_stop, queue=False, **private).then(
        sweep, [tab.methods, tab.ratios, *asked.asked], outputs, concurrency_id="model", concurrency_limit=1,
        trigger_mode="multiple", **private,
    )  # fmt: skip
    tab.stop.click(signal_stop, queue=False, **private)
