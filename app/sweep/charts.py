"""Plotly figures of a sweep's rows, and the look that all figures of the page share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from adafv_core.methods import METHODS
from adafv_core.study.report.figures import color_of
from app.sweep.rows import SweepRow

MARKERS = (
    "circle",
    "square",
    "diamond",
    "cross",
    "triangle-up",
    "x",
    "star",
    "hexagon",
    "pentagon",
    "triangle-down",
)
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
KL_FLOOR = 1e-6
"""The smallest KL on the logarithmic axis, in nats; smaller values are drawn at it."""


def kl_figure(rows: Sequence[SweepRow]) -> go.Figure:
    """KL from the full-token answer over the keep ratio, one line per method; gaps where it is unknown or infinite."""
    figure = go.Figure()
    known: list[float | None] = []
    for index, method in enumerate(_methods(rows)):
        own = _of(rows, method)
        found = [None if row.kl_nats is None else max(0.0, row.kl_nats) for row in own]
        known += found
        figure.add_scatter(
            **_look(index, method, own),
            y=[None if kl is None else max(KL_FLOOR, kl) for kl in found],
            customdata=found,
            hovertemplate="keep %{x:.3g} %<br>KL %{customdata:.3g} nats<extra>" + METHODS[method].title + "</extra>",
        )
    figure.update_yaxes(type="log", dtick=1, tickformat="~g")
    below = any(kl is not None and kl < KL_FLOOR for kl in known)
    notes = [f"values below {KL_FLOOR:f} are drawn there"] * below + ["gaps: unknown"] * (None in known)
    _against_ratio(figure, "Next-token KL from full tokens, nats")
    return figure.update_layout(title_subtitle={"text": "; ".join(notes), "font": {"size": 12}}, margin_t=64)


def agreement_figure(rows: Sequence[SweepRow]) -> go.Figure:
    """Agreement with the full-token answer over the keep ratio, one line per method."""
    figure = go.Figure()
    for index, method in enumerate(_methods(rows)):
        own = _of(rows, method)
        figure.add_scatter(
            **_look(index, method, own),
            y=[None if row.same is None else int(row.same) + 0.02 * index for row in own],
            hovertemplate="keep %{x:.3g} %<extra>" + METHODS[method].title + "</extra>",
        )
    figure.update_yaxes(tickvals=[0, 1], ticktext=["different", "same"], range=[-0.15, 1.35])
    return _against_ratio(figure, "Same answer as full tokens")


def _methods(rows: Sequence[SweepRow]) -> list[str]:
    return list(dict.fromkeys(row.method for row in rows if row.method != "full"))


def _of(rows: Sequence[SweepRow], method: str) -> list[SweepRow]:
    return sorted((row for row in rows if row.method == method and not row.error), key=lambda row: row.keep_ratio)


def _look(index: int, method: str, own: Sequence[SweepRow]) -> dict[str, Any]:
    return {
        "x": [100 * row.keep_ratio for row in own],
        "mode": "lines+markers",
        "name": METHODS[method].title,
        "line": {"color": color_of(method, index), "dash": DASHES[index % len(DASHES)], "width": 2},
        "marker": {"symbol": MARKERS[index % len(MARKERS)], "size": 8},
    }


def _against_ratio(figure: go.Figure, title: str) -> go.Figure:
    figure.update_xaxes(title_text="keep ratio, %", type="log", tickvals=[1, 2.5, 5, 10, 25, 50, 100])
    return titled(figure, title)


def titled(figure: go.Figure, title: str, height: int = 380) -> go.Figure:
    """Apply the page's look: no background, thin grid, legend below; text colors come from the style sheet."""
    figure.update_layout(
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "IBM Plex Sans, system-ui, sans-serif", "size": 12},
        title={"text": title, "font": {"size": 14}, "x": 0.01, "y": 0.98},
        margin={"l": 56, "r": 16, "t": 40, "b": 52},
        height=height,
        showlegend=True,
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"},
        hoverlabel={"font": {"family": "IBM Plex Sans, system-ui, sans-serif"}},
    )
    axis = {
        "gridcolor": "rgba(128,128,128,0.25)",
        "zeroline": False,
        "linecolor": "rgba(128,128,128,0.6)",
        "title_font_size": 13,
    }
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    return figure
