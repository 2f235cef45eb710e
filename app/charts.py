"""Results → Plotly figures, made from plain rows."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.sweep_rows import SweepRow

COLOURS = (
    "#1f5fbf",
    "#d9720f",
    "#1a8a5a",
    "#b2417f",
    "#7a5cc0",
    "#0f8a9d",
    "#8a6d1d",
    "#c0392b",
    "#5b6770",
    "#3f7f3f",
)
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


def sweep_figure(rows: Sequence[SweepRow]) -> go.Figure:
    """KL to full tokens and agreement with full tokens against the keep ratio, one line a method."""
    figure = make_subplots(
        1, 2, subplot_titles=("Next-token KL from full tokens (nats)", "Same answer as full tokens"),
        horizontal_spacing=0.1,
    )  # fmt: skip
    methods = list(dict.fromkeys(row.method for row in rows if row.method != "full"))
    for index, method in enumerate(methods):
        own = sorted((row for row in rows if row.method == method and not row.error), key=lambda row: row.keep_ratio)
        look = {
            "mode": "lines+markers",
            "name": method,
            "legendgroup": method,
            "line": {"color": COLOURS[index % len(COLOURS)], "dash": DASHES[index % len(DASHES)], "width": 2},
            "marker": {"symbol": MARKERS[index % len(MARKERS)], "size": 8},
        }
        kept = [100 * row.keep_ratio for row in own]
        figure.add_scatter(
            x=kept, y=[max(KL_FLOOR, row.kl_nats or 0.0) for row in own], row=1, col=1, **look,
            hovertemplate="keep %{x:.3g} %<br>KL %{y:.3g} nats<extra>" + method + "</extra>",
        )  # fmt: skip
        figure.add_scatter(
            x=kept, y=[None if row.same is None else int(row.same) + 0.02 * index for row in own], row=1, col=2,
            showlegend=False, **look, hovertemplate="keep %{x:.3g} %<extra>" + method + "</extra>",
        )  # fmt: skip
    figure.update_xaxes(title_text="keep ratio (%)", type="log", tickvals=[1, 2, 5, 10, 25, 50, 100])
    figure.update_yaxes(type="log", row=1, col=1)
    figure.update_yaxes(tickvals=[0, 1], ticktext=["different", "same"], range=[-0.15, 1.35], row=1, col=2)
    return plain(figure)


def plain(figure: go.Figure) -> go.Figure:
    """The page's look: no background, thin grid, legend below; text colours come from the style sheet."""
    figure.update_layout(
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "IBM Plex Sans, system-ui, sans-serif", "size": 13},
        margin={"l": 56, "r": 16, "t": 36, "b": 52},
        height=360,
        legend={"orientation": "h", "y": -0.22},
        hoverlabel={"font": {"family": "IBM Plex Sans, system-ui, sans-serif"}},
    )
    axis = {"gridcolor": "rgba(128,128,128,0.25)", "zeroline": False, "linecolor": "rgba(128,128,128,0.6)"}
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis)
    return figure
