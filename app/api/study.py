"""Endpoints of Study: /study_results and /study."""

from __future__ import annotations

from typing import Any

import gradio as gr

from adafv_core.study.report.summary_file import Summary
from app.context import AppContext
from app.events import STUDIES
from app.gradio_ext.blocks import with_gradio_errors
from app.gradio_ext.inputs import AnyNumber, JsonList
from app.gradio_ext.queueing import client_gone
from app.study.run import read_request, run_study, stored_results, summary_of

MEANINGS = {
    "methods": "Names of pruning methods, oracle, blind.",
    "keep_ratios": "Fractions of visual tokens kept, each above 0 and at most 1.",
    "scenes": "Scenes of the bundled data set, about 6.6 questions each.",
}


def add_study(context: AppContext) -> None:
    """Add the endpoints to the page being built."""

    def study_results() -> dict[str, Summary]:
        """Stored studies by name: accuracy of every method and budget, paired tests, figures 1 to 4."""
        return with_gradio_errors(stored_results)

    def study(request: gr.Request, methods: Any, keep_ratios: Any, scenes: Any) -> Summary | None:
        """Measure methods at keep ratios on scenes of the bundled data set; returns the summary."""

        def work() -> Summary | None:
            session = context.service.sessions.of(request.session_hash)
            wanted = read_request(context.service, session.model, methods, keep_ratios, scenes, None)
            file = context.exports.place("adafv-study.jsonl")
            stop = session.studying.begin(client_gone=client_gone(request))
            for _ in run_study(context.service, wanted, file, stop):
                pass
            return summary_of(file)

        return with_gradio_errors(work)

    lines = [f"    {name}: {meaning}" for name, meaning in MEANINGS.items()]
    study.__doc__ = "\n".join([str(study.__doc__), "", "Args:", *lines])
    methods = JsonList(["saliency", "adafv"], items="string", label=MEANINGS["methods"], visible=False)
    keep_ratios = JsonList([0.1], items="number", label=MEANINGS["keep_ratios"], visible=False)
    scenes = AnyNumber(20, label=MEANINGS["scenes"], visible=False)
    result = gr.JSON(visible=False)
    trigger = gr.Button(visible=False)
    trigger.click(study_results, None, result, api_name="study_results")
    trigger.click(study, [methods, keep_ratios, scenes], result, api_name="study", **STUDIES)
