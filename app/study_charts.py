"""Figures 1 to 4 of the paper as Plotly figures, from a study's summary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from adafv_core.study.rows import BOUNDS, FULL
from adafv_core.study.tables import labels_of, ratios_of, row_at
from app.charts import COLOURS, DASHES, MARKERS, plain

OWN = "adafv"
RANKINGS = {"t2i": "T2I attention", "saliency": "[CLS] saliency", "adafv": "AdaFV's mixture"}
_GREY = "#8a8f94"


def accuracy_figure(summary: dict[str, Any]) -> go.Figure:
    """Figure 1: accuracy against reduction with 95 % intervals, one line a method; x logarithmic in what is kept."""
    ratios = [1.0, *ratios_of(summary)]
    figure = go.Figure()
    others = [label for label in labels_of(summary) if label != OWN]
    for place, label in enumerate([*others, OWN] if OWN in labels_of(summary) else others):
        rows = [(ratio, row) for ratio in ratios if (row := row_at(summary, label, ratio)) is not None]
        if label not in (FULL, "blind") and (full := row_at(summary, FULL, 1.0)) is not None:
            rows.insert(0, (1.0, full))
        found = [row["accuracy"] for _, row in rows]
        grey = label in (*BOUNDS, FULL)
        figure.add_scatter(
            x=[ratio for ratio, _ in rows], y=[one["value"] for one in found], name=label, mode="lines+markers",
            error_y={
                "type": "data", "symmetric": False, "thickness": 1, "width": 3,
                "array": [(one["high"] or one["value"]) - one["value"] for one in found],
                "arrayminus": [one["value"] - (one["low"] or one["value"]) for one in found],
            },
            line={
                "color": _GREY if grey else COLOURS[place % len(COLOURS)], "width": 3.5 if label == OWN else 1.6,
                "dash": DASHES[place % len(DASHES)] if label != OWN else "solid",
            },
            marker={"symbol": MARKERS[place % len(MARKERS)], "size": 9 if label == OWN else 6},
            hovertemplate="%{y:.1f} % right<extra>" + label + "</extra>",
        )  # fmt: skip
    figure.update_xaxes(
        type="log", autorange="reversed", tickvals=ratios, ticktext=[f"{100 * (1 - one):.4g} %" for one in ratios],
        title_text="visual tokens dropped",
    )  # fmt: skip
    figure.update_yaxes(title_text="right answers, %")
    return _titled(figure, "Figure 1 · accuracy against reduction", 460)


def auc_figure(summary: dict[str, Any]) -> go.Figure:
    """Figure 2: AUC for "is this token on the named object", mean by family and distribution over questions."""
    auc = summary["figures"]["auc"]
    figure = make_subplots(1, 2, column_widths=[0.55, 0.45], horizontal_spacing=0.1)
    for place, name in enumerate(("t2i", "saliency")):
        means = {"all": auc[name]["mean"], **auc[name]["families"]}
        look: dict[str, Any] = {"name": RANKINGS[name], "marker_color": COLOURS[place], "legendgroup": name}
        figure.add_bar(
            x=list(means), y=list(means.values()), row=1, col=1, **look, hovertemplate="%{x}: %{y:.3f}<extra></extra>"
        )
        _outline(figure, auc["edges"], auc[name]["counts"], RANKINGS[name], COLOURS[place], name, 2)
    figure.update_yaxes(title_text="mean AUC", range=[0, 1], row=1, col=1)
    figure.update_xaxes(title_text="AUC of a question", row=1, col=2)
    figure.update_yaxes(title_text="share of questions, %", row=1, col=2)
    return _titled(figure, "Figure 2 · AUC of T2I attention beside saliency's")


def similarity_figure(summary: dict[str, Any]) -> go.Figure:
    """Figure 3: T2I similarity of tokens on the named objects and off them."""
    found = summary["figures"]["similarity"]
    filled = [place for place, pair in enumerate(zip(found["on"], found["off"], strict=True)) if any(pair)]
    first, last = filled[0], filled[-1] + 1
    figure = go.Figure()
    for side, color, name in (("off", _GREY, "off the object"), ("on", COLOURS[0], "on the object")):
        _outline(figure, found["edges"][first : last + 1], found[side][first:last], name, color, side)
    figure.update_xaxes(title_text="cosine of the token and the word nearest to it")
    figure.update_yaxes(title_text="share of tokens, %")
    return _titled(figure, "Figure 3 · T2I similarity")


def hit_figure(summary: dict[str, Any]) -> go.Figure:
    """Figure 4: share of questions whose first k tokens of a ranking hold one on the named object."""
    found = summary["figures"]["hit"]
    figure = go.Figure()
    for place, (name, title) in enumerate(RANKINGS.items()):
        figure.add_scatter(
            x=found["budgets"], y=[100 * share for share in found[name]["share_hit"]], mode="lines",
            name=f"{title}: mean {found[name]['mean']:.1f}",
            line={"color": COLOURS[place], "dash": DASHES[place], "width": 2.5, "shape": "hv"},
            hovertemplate="%{x} tokens: %{y:.1f} % hit<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(type="log", title_text="visual tokens kept", dtick="D1")
    figure.update_yaxes(title_text="questions hit, %", range=[0, 102])
    return _titled(figure, "Figure 4 · fewest tokens to keep to hit the object")


def _outline(
    figure: go.Figure, edges: Sequence[float], counts: Sequence[int], name: str, color: str, group: str, column: int = 0
) -> None:
    total = sum(counts) or 1
    place = {"row": 1, "col": column} if column else {}
    figure.add_scatter(
        x=list(edges), y=[100 * count / total for count in (*counts, 0)], name=name, mode="lines", fill="tozeroy",
        line={"color": color, "shape": "hv", "width": 1.8}, legendgroup=group, showlegend=not column,
        hovertemplate="from %{x:.3g}: %{y:.1f} %<extra>" + name + "</extra>", **place,
    )  # fmt: skip


def _titled(figure: go.Figure, title: str, height: int = 380) -> go.Figure:
    plain(figure)
    figure.update_layout(title={"text": title, "font": {"size": 14}, "x": 0.01, "y": 0.98}, height=height)
    return figure
