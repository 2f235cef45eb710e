"""Figures 1 to 4 of the paper as Plotly figures, from a study's summary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from adafv_core.study.report.tables import labels_of, ratios_of, row_at
from adafv_core.study.run.configs import FULL
from app.sweep.charts import COLORS, DASHES, GRAY, MARKERS, color_of, titled

OWN = "adafv"
RANKINGS = {"t2i": "T2I attention", "saliency": "[CLS] saliency", "adafv": "AdaFV's mixture"}
_TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


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
        figure.add_scatter(
            x=[ratio for ratio, _ in rows],
            y=[one["value"] for one in found],
            name=label,
            mode="lines+markers",
            error_y={
                "type": "data",
                "symmetric": False,
                "thickness": 1,
                "width": 3,
                "array": [_reach(one, "high") for one in found],
                "arrayminus": [_reach(one, "low") for one in found],
            },
            line={
                "color": color_of(label, place),
                "width": 3.5 if label == OWN else 1.6,
                "dash": DASHES[place % len(DASHES)] if label != OWN else "solid",
            },
            marker={"symbol": MARKERS[place % len(MARKERS)], "size": 9 if label == OWN else 6},
            hovertemplate="%{y:.1f} % right<extra>" + label + "</extra>",
        )
    figure.update_xaxes(
        type="log",
        autorange="reversed",
        tickvals=ratios,
        ticktext=[f"{100 * (1 - one):.4g} %" for one in ratios],
        title_text="visual tokens dropped",
    )
    figure.update_yaxes(title_text="right answers, %")
    return titled(figure, "Figure 1 · accuracy against reduction", 460)


def auc_figure(summary: dict[str, Any]) -> go.Figure:
    """Figure 2: AUC for "is this token on the named object", mean by family."""
    auc = summary["figures"]["auc"]
    figure = go.Figure()
    for name in ("t2i", "saliency"):
        means = {"all": auc[name]["mean"], **auc[name]["families"]}
        figure.add_bar(
            y=list(means),
            x=list(means.values()),
            name=RANKINGS[name],
            marker_color=COLORS[name],
            orientation="h",
            hovertemplate="%{y}: %{x:.3f}<extra></extra>",
        )
    figure.update_xaxes(title_text="mean AUC", range=[0, 1])
    figure.update_yaxes(autorange="reversed", automargin=True)
    return titled(figure, "Figure 2 · AUC by question family")


def auc_spread_figure(summary: dict[str, Any]) -> go.Figure:
    """Figure 2's other half: how the AUC is distributed over questions."""
    auc = summary["figures"]["auc"]
    figure = go.Figure()
    for name in ("t2i", "saliency"):
        _outline(figure, auc["edges"], auc[name]["counts"], RANKINGS[name], COLORS[name])
    figure.update_xaxes(title_text="AUC of a question")
    figure.update_yaxes(title_text="share of questions, %")
    return titled(figure, "Figure 2 · AUC over questions")


def similarity_figure(summary: dict[str, Any]) -> go.Figure:
    """Figure 3: T2I similarity of tokens on the named objects and off them."""
    found = summary["figures"]["similarity"]
    filled = [place for place, pair in enumerate(zip(found["on"], found["off"], strict=True)) if any(pair)]
    first, last = filled[0], filled[-1] + 1
    figure = go.Figure()
    for side, color, name in (("off", GRAY, "off the object"), ("on", COLORS["t2i"], "on the object")):
        _outline(figure, found["edges"][first : last + 1], found[side][first:last], name, color)
    figure.update_xaxes(title_text="cosine of a token and its nearest word")
    figure.update_yaxes(title_text="share of tokens, %")
    return titled(figure, "Figure 3 · T2I similarity")


def hit_figure(summary: dict[str, Any]) -> go.Figure:
    """Figure 4: share of questions whose first k tokens of a ranking hold one on the named object."""
    found = summary["figures"]["hit"]
    figure = go.Figure()
    for place, (name, title) in enumerate(RANKINGS.items()):
        figure.add_scatter(
            x=found["budgets"],
            y=[100 * share for share in found[name]["share_hit"]],
            mode="lines",
            name=f"{title}: mean {found[name]['mean']:.1f}",
            line={"color": COLORS[name], "dash": DASHES[place], "width": 2.5, "shape": "hv"},
            hovertemplate="%{x} tokens: %{y:.1f} % hit<extra></extra>",
        )
    figure.update_xaxes(type="log", title_text="visual tokens kept", tickvals=_TICKS)
    figure.update_yaxes(title_text="questions hit, %", range=[0, 102])
    return titled(figure, "Figure 4 · tokens to keep to hit the object")


def _reach(accuracy: dict[str, Any], end: str) -> float:
    """How far an interval reaches from its value to this end; 0 where it has none."""
    return 0.0 if accuracy[end] is None else abs(float(accuracy[end]) - float(accuracy["value"]))


def _outline(figure: go.Figure, edges: Sequence[float], counts: Sequence[int], name: str, color: str) -> None:
    total = sum(counts) or 1
    figure.add_scatter(
        x=list(edges),
        y=[100 * count / total for count in (*counts, 0)],
        name=name,
        mode="lines",
        fill="tozeroy",
        line={"color": color, "shape": "hv", "width": 1.8},
        hovertemplate="from %{x:.3g}: %{y:.1f} %<extra>" + name + "</extra>",
    )
