"""Figures 1 to 4 of a study as Plotly figures."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from adafv_core.study.report import figures
from adafv_core.study.report.figures import FigureData, Series
from app.sweep.charts import DASHES, MARKERS, titled


def accuracy_figure(summary: dict[str, Any]) -> go.Figure:
    """Figure 1: accuracy against reduction."""
    return plotly_figure(figures.accuracy(summary), 460)


def auc_figure(summary: dict[str, Any]) -> go.Figure:
    """Figure 2a: AUC by question family."""
    return plotly_figure(figures.auc_by_family(summary))


def auc_spread_figure(summary: dict[str, Any]) -> go.Figure:
    """Figure 2b: AUC over questions."""
    return plotly_figure(figures.auc_of_questions(summary))


def similarity_figure(summary: dict[str, Any]) -> go.Figure:
    """Figure 3: T2I similarity on and off the named objects."""
    return plotly_figure(figures.similarity(summary))


def hit_figure(summary: dict[str, Any]) -> go.Figure:
    """Figure 4: tokens to keep to hit the named object."""
    return plotly_figure(figures.hits(summary))


def plotly_figure(data: FigureData, height: int = 380) -> go.Figure:
    """Draw one figure in the page's look. height: in pixels."""
    figure = go.Figure()
    for one in data.series:
        if data.kind == "bars":
            # Horizontal bars leave room for the names of families on a narrow page.
            figure.add_bar(
                y=data.categories,
                x=one.y,
                name=one.name,
                marker_color=one.color,
                orientation="h",
                hovertemplate="%{y}: %{x:.3f}<extra></extra>",
            )
        else:
            figure.add_scatter(name=one.name, **_TRACES[data.kind](one))
    if data.kind == "bars":
        figure.update_xaxes(title_text=data.y_label, range=data.y_range)
        figure.update_yaxes(autorange="reversed", automargin=True)
        return titled(figure, data.title, height)
    figure.update_xaxes(title_text=data.x_label, type="log" if data.log_x else "linear")
    if data.ticks:
        figure.update_xaxes(tickvals=[at for at, _ in data.ticks], ticktext=[label for _, label in data.ticks])
    if data.reversed_x:
        figure.update_xaxes(autorange="reversed")
    figure.update_yaxes(title_text=data.y_label, range=data.y_range)
    return titled(figure, data.title, height)


def _points(one: Series) -> dict[str, Any]:
    return {
        "x": one.x,
        "y": one.y,
        "mode": "lines+markers",
        "error_y": {
            "type": "data",
            "symmetric": False,
            "thickness": 1,
            "width": 3,
            "array": [0.0 if end is None else end - value for value, end in zip(one.y, one.high, strict=True)],
            "arrayminus": [0.0 if end is None else value - end for value, end in zip(one.y, one.low, strict=True)],
        },
        "line": {
            "color": one.color,
            "width": 3.5 if one.main else 1.6,
            "dash": "solid" if one.main else DASHES[one.style % len(DASHES)],
        },
        "marker": {"symbol": MARKERS[one.style % len(MARKERS)], "size": 9 if one.main else 6},
        "hovertemplate": f"%{{y:.1f}} % right<extra>{one.name}</extra>",
    }


def _steps(one: Series) -> dict[str, Any]:
    return {
        "x": one.x,
        "y": one.y,
        "mode": "lines",
        "line": {"color": one.color, "dash": DASHES[one.style % len(DASHES)], "width": 2.5, "shape": "hv"},
        "hovertemplate": "%{x} tokens: %{y:.1f} % hit<extra></extra>",
    }


def _outline(one: Series) -> dict[str, Any]:
    return {
        "x": one.x,
        "y": (*one.y, 0.0),
        "mode": "lines",
        "fill": "tozeroy",
        "line": {"color": one.color, "shape": "hv", "width": 1.8},
        "hovertemplate": f"from %{{x:.3g}}: %{{y:.1f}} %<extra>{one.name}</extra>",
    }


_TRACES = {"points": _points, "steps": _steps, "outlines": _outline}
