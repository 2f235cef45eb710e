"""About: the method in six pictures and four equations, its limits, and the published results."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from adafv_core.study.report.published import BENCHMARKS, LLAVA_NEXT_7B, SAME_AS_OURS
from adafv_core.study.report.tables import row_at
from adafv_core.study.run.configs import row_title
from app.context import AppContext
from app.gradio_ext.components import html_view
from app.study.run import stored_results

_PAGE = Path(__file__).parent / "about.html"


def build(context: AppContext) -> gr.HTML:
    """Lay the tab out; nothing in it needs wiring."""
    value = {"steps": steps(context), "published": published(stored_results().get("pocket")), "code": code_address()}
    return html_view("about", json.dumps(value), template=_PAGE.read_text(encoding="utf-8"))


def code_address() -> str:
    """Where the code of this page can be read, if it runs as a Space; else empty."""
    space = os.environ.get("SPACE_ID", "")
    return f"https://huggingface.co/spaces/{quote(space)}/tree/main" if space else ""


def published(summary: dict[str, Any] | None) -> dict[str, Any]:
    """The published table with our own percentages in its last column, as texts. summary: the main study's, if any."""
    rows = []
    for row in LLAVA_NEXT_7B:
        found = row_at(summary, SAME_AS_OURS.get(row.method, ""), round(1 - row.reduction, 4)) if summary else None
        share = found["mean_percent_of_full"]["value"] if found else None
        ours = "–" if found is None or share is None else f"{share:.1f} % ({row_title(found['row'])})"
        scores = [f"{score:.2f}" for score in row.scores]
        cells = [row.method, f"{100 * row.reduction:.0f} %", *scores, f"{row.average:.2f} %", ours]
        rows.append({"cells": cells, "ours": row.method == "AdaV"})
    return {"head": ["Method", "Reduction", *BENCHMARKS, "Average, % of full", "Ours, % of full"], "rows": rows}


def steps(context: AppContext) -> list[dict[str, str]]:
    """The pipeline on the worked example: title and sentence of each step; the browser draws its picture."""
    run = context.first.run
    if run is None or run.selection is None:
        return []
    n, kept = run.scores.size, run.selection.size
    split = f"Text takes {run.selection.k_text}, vision {run.selection.k_visual}: the best split."
    texts = (
        ("1 Encode", f"The image becomes {n} visual tokens, once."),
        ("2 Compare", "Each word against each token: T2I attention."),
        ("3 Look", "What the encoder finds salient by itself."),
        ("4 Mix", split),
        ("5 Keep", f"{kept} of {n} tokens stay, in their order."),
        ("6 Answer", _answer(context)),
    )
    return [{"title": title, "text": text} for title, text in texts]


def _answer(context: AppContext) -> str:
    run = context.first.run
    answer = run.pruned.text if run is not None and run.pruned is not None else ""
    answer = answer if len(answer) <= 40 else answer[:39] + "…"
    return f"“{context.first.prompt}” “{answer}”" if answer else "The language model sees only these."
