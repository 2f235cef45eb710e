"""About: the method in six pictures and four equations, its limits, and the published figures."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from adafv_core.study.report.published import BENCHMARKS, LLAVA_NEXT_7B, SAME_AS_OURS
from adafv_core.study.report.tables import row_at
from app.context import AppContext
from app.gradio_ext.components import part
from app.saved_runs.levels import mixed_levels, plain_levels
from app.saved_runs.overlay import Maps, heat_overlay, kept_overlay
from app.study.run import stored_results

_PAGE = Path(__file__).parent / "about.html"


def build(context: AppContext) -> gr.HTML:
    """Lay the tab out; nothing in it needs wiring."""
    value = {"steps": steps(context), "published": published(stored_results().get("pocket"))}
    return part("about", json.dumps(value), template=_PAGE.read_text(encoding="utf-8"))


def published(summary: dict[str, Any] | None) -> dict[str, Any]:
    """The published table with our own percentages in its last column, as texts. summary: the main study's, if any."""
    rows = []
    for row in LLAVA_NEXT_7B:
        found = row_at(summary, SAME_AS_OURS.get(row.method, ""), round(1 - row.reduction, 4)) if summary else None
        share = found["mean_percent_of_full"]["value"] if found else None
        ours = "–" if found is None or share is None else f"{share:.1f} % ({found['row']})"
        scores = [f"{score:.2f}" for score in row.scores]
        cells = [row.method, f"{100 * row.reduction:.0f} %", *scores, f"{row.average:.2f} %", ours]
        rows.append({"cells": cells, "ours": row.method == "AdaV"})
    return {"head": ["Method", "Reduction", *BENCHMARKS, "Average, % of full", "Ours, % of full"], "rows": rows}


def steps(context: AppContext) -> list[dict[str, str]]:
    """The pipeline on the worked example: title, sentence and picture of each step."""
    run = context.first.run
    if run is None or run.selection is None:
        return []
    scores, selection, picture, grid = run.scores, run.selection, run.picture, run.scores.visual.grid
    maps = Maps.of(scores, selection)
    everything = np.ones(scores.size, np.bool_)
    n, kept = scores.size, selection.size
    drawn = (
        (
            "1 Encode",
            f"The image becomes {n} visual tokens, once.",
            kept_overlay(picture, grid, everything, 0 * maps.why),
        ),
        ("2 Compare", "Each word against each token: T2I attention.", heat(picture, context, plain_levels(maps.t2i))),
        ("3 Look", "What the encoder finds salient by itself.", heat(picture, context, plain_levels(maps.saliency))),
        (
            "4 Mix",
            f"Text takes {selection.k_text}, vision {selection.k_visual}: the best split.",
            heat(picture, context, mixed_levels(maps.mixed)),
        ),
        (
            "5 Keep",
            f"{kept} of {n} tokens stay, in their order.",
            kept_overlay(picture, grid, maps.kept, maps.why),
        ),
        ("6 Answer", _said(context), _only_kept(picture, context, maps)),
    )
    return [{"title": title, "text": text, "picture": _url(image)} for title, text, image in drawn]


def heat(picture: Image.Image, context: AppContext, levels: np.ndarray) -> Image.Image:
    """One map of the worked example. levels: where its values lie on the color map."""
    assert context.first.run is not None
    return heat_overlay(picture, context.first.run.scores.visual.grid, levels, "cividis", 0.85)


def _only_kept(picture: Image.Image, context: AppContext, maps: Maps) -> Image.Image:
    assert context.first.run is not None
    crop = context.first.run.scores.visual.grid.crops[-1]
    mask = Image.fromarray(
        (maps.kept[crop.offset : crop.offset + crop.size].reshape(crop.rows, crop.cols) * 255).astype(np.uint8)
    )
    shown = Image.new("RGB", picture.size, (120, 124, 130))
    shown.paste(picture, (0, 0), mask.resize(picture.size, Image.Resampling.NEAREST))
    return shown


def _said(context: AppContext) -> str:
    run = context.first.run
    answer = run.pruned.text if run is not None and run.pruned is not None else ""
    answer = answer if len(answer) <= 40 else answer[:39] + "…"
    return f"“{context.first.prompt}” “{answer}”" if answer else "The language model sees only these."


def _url(image: Image.Image) -> str:
    small = image.resize((336, round(336 * image.height / image.width)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=86)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
