"""Figures 1 to 4 as plain data, with one color per method, for both the image files and the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from adafv_core.errors import InputError
from adafv_core.methods import METHODS
from adafv_core.study.measure.bounds import BLIND, BOUNDS
from adafv_core.study.report.summary_file import Summary
from adafv_core.study.report.tables import labels_of, ratios_of, row_at
from adafv_core.study.run.configs import FULL, row_title

GRAY = "#8a8f94"
COLORS = {
    "adafv": "#2f7fdc",
    "full": GRAY,
    "oracle": GRAY,
    "blind": GRAY,
    "t2i": "#d9720f",
    "saliency": "#c2449f",
    "fixed_mix": "#23906a",
    "random": "#b0673c",
    "adav_authors": "#0f8a9d",
    "visionzip": "#8a6fd0",
    "vispruner": "#a8850a",
    "divprune": "#5b9140",
    "fastv": "#d9566a",
}
"""One color per method, each with a contrast of at least 3:1 against a light and a dark background."""
RANKINGS = {"t2i": "T2I attention", "saliency": "[CLS] saliency", "adafv": "AdaFV's mixture"}
OWN = "adafv"
SIMPLE = frozenset({FULL, *BOUNDS, "random", "saliency", "t2i", "fixed_mix", "pooling", "downsample"})
"""Rows of figure 1a: bounds, and rules of one score or none."""
_INSIDE = frozenset(name for name, method in METHODS.items() if method.inside_llm)
_BUDGET_TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


def color_of(label: str, place: int) -> str:
    """A method's color; a method with options gets one by its position among the rows."""
    return COLORS.get(label) or list(COLORS.values())[4 + place % (len(COLORS) - 4)]


@dataclass(frozen=True)
class Series:
    """One line, group of bars, or outline.

    x, y: points; for bars, y per category of the figure and x empty; for an outline, x holds the n + 1 edges of the n
    heights y. low, high: ends of the interval around each y, None if there is none. style: index of its dashes and
    marker. main: drawn thicker and solid.
    """

    name: str
    color: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()
    style: int = 0
    main: bool = False


@dataclass(frozen=True)
class FigureData:
    """One figure.

    kind: "points" (lines with markers and intervals), "steps" (constant until the next x), "bars", or "outlines"
    (histograms). categories: names of the bars. ticks: (x, label), () for those of the drawing library. reversed_x:
    large x on the left. labels_in_place: each line is named where it ends, instead of in a legend.
    """

    title: str
    kind: Literal["points", "steps", "bars", "outlines"]
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    categories: tuple[str, ...] = ()
    ticks: tuple[tuple[float, str], ...] = ()
    log_x: bool = False
    reversed_x: bool = False
    y_range: tuple[float, float] | None = None
    labels_in_place: bool = False


def accuracy(summary: Summary) -> FigureData:
    """Figure 1: accuracy against reduction with 95 % intervals, one line per row; log scale of the keep ratio."""
    ratios = [1.0, *ratios_of(summary)]
    labels = sorted(labels_of(summary), key=lambda label: label == OWN)
    full = row_at(summary, FULL, 1.0)
    series = []
    for place, label in enumerate(labels):
        own = ratios[1:] if label == BLIND else ratios
        rows = [(ratio, row) for ratio in own if (row := row_at(summary, label, ratio)) is not None]
        if label != BLIND and full is not None and rows and rows[0][0] < 1:
            rows.insert(0, (1.0, full))
        values = [row["accuracy"] for _, row in rows]
        series.append(
            Series(
                name=row_title(label),
                color=color_of(label, place),
                x=tuple(ratio for ratio, _ in rows),
                y=tuple(one["value"] for one in values),
                low=tuple(one["low"] for one in values),
                high=tuple(one["high"] for one in values),
                style=place,
                main=label == OWN,
            )
        )
    return FigureData(
        title="Figure 1 · accuracy against reduction",
        kind="points",
        x_label="visual tokens dropped",
        y_label="right answers, %",
        series=tuple(series),
        ticks=tuple((ratio, f"{100 * (1 - ratio):.4g} %") for ratio in ratios),
        log_x=True,
        reversed_x=True,
    )


def bounds_and_simple_rules(summary: Summary) -> FigureData:
    """Figure 1a: the rows of `accuracy` that are bounds or one simple rule, and AdaFV."""
    return _some_rows(summary, "Figure 1a · bounds and simple rules", lambda name: name in SIMPLE)


def before_the_llm(summary: Summary) -> FigureData:
    """Figure 1b: the rows of `accuracy` that prune before the LLM, without the simple rules."""
    return _some_rows(summary, "Figure 1b · pruned before the LLM", lambda name: name not in SIMPLE | _INSIDE)


def inside_the_llm(summary: Summary) -> FigureData:
    """Figure 1c: the rows of `accuracy` that prune inside the LLM, and AdaFV."""
    return _some_rows(summary, "Figure 1c · pruned inside the LLM", lambda name: name in _INSIDE)


def _some_rows(summary: Summary, title: str, shown: Callable[[str], bool]) -> FigureData:
    whole = accuracy(summary)
    names = {row_title(label) for label in labels_of(summary) if shown(label.split(" ")[0]) or label == OWN}
    values = [end for one in whole.series for end in (*one.low, *one.high, *one.y) if end is not None]
    return replace(
        whole,
        title=title,
        series=tuple(one for one in whole.series if one.name in names),
        labels_in_place=True,
        y_range=(max(0.0, min(values, default=0.0) - 4), min(103.0, max(values, default=100.0) + 4)),
    )


def auc_by_family(summary: Summary) -> FigureData:
    """Figure 2a: mean AUC for "is this token on the named object", by question family."""
    auc = _figures(summary)["auc"]
    return FigureData(
        title="Figure 2a · AUC by question family",
        kind="bars",
        x_label="",
        y_label="mean AUC",
        series=tuple(
            Series(RANKINGS[name], COLORS[name], (), (auc[name]["mean"], *auc[name]["families"].values()))
            for name in ("t2i", "saliency")
        ),
        categories=("all", *auc["t2i"]["families"]),
        y_range=(0.0, 1.0),
    )


def auc_of_questions(summary: Summary) -> FigureData:
    """Figure 2b: distribution of that AUC over questions."""
    auc = _figures(summary)["auc"]
    return FigureData(
        title="Figure 2b · AUC of each question",
        kind="outlines",
        x_label="AUC of a question",
        y_label="share of questions, %",
        series=tuple(
            Series(RANKINGS[name], COLORS[name], tuple(auc["edges"]), _shares(auc[name]["counts"]))
            for name in ("t2i", "saliency")
        ),
    )


def similarity(summary: Summary) -> FigureData:
    """Figure 3: distribution of T2I similarity over tokens on the named objects and off them."""
    found = _figures(summary)["similarity"]
    filled = [place for place, pair in enumerate(zip(found["on"], found["off"], strict=True)) if any(pair)]
    first, last = filled[0], filled[-1] + 1
    edges = tuple(found["edges"][first : last + 1])
    return FigureData(
        title="Figure 3 · T2I similarity",
        kind="outlines",
        x_label="cosine of a token and its nearest word",
        y_label="share of tokens, %",
        series=tuple(
            Series(name, color, edges, _shares(found[side])[first:last])
            for side, color, name in (("off", GRAY, "off the object"), ("on", COLORS["t2i"], "on the object"))
        ),
    )


def hits(summary: Summary) -> FigureData:
    """Figure 4: share of questions for which the first k tokens of a ranking hold one on the named object."""
    found = _figures(summary)["hit"]
    budgets = tuple(float(budget) for budget in found["budgets"])
    return FigureData(
        title="Figure 4 · tokens to keep to hit the object",
        kind="steps",
        x_label="visual tokens kept",
        y_label="questions hit, %",
        series=tuple(
            Series(
                name=f"{title}: mean {found[name]['mean']:.1f}",
                color=COLORS[name],
                x=budgets,
                y=tuple(100 * share for share in found[name]["share_hit"]),
                style=place,
            )
            for place, (name, title) in enumerate(RANKINGS.items())
        ),
        ticks=tuple((float(tick), f"{tick:,}") for tick in _BUDGET_TICKS if tick <= budgets[-1]),
        log_x=True,
        y_range=(0.0, 102.0),
    )


def _figures(summary: Summary) -> dict[str, Any]:
    if not summary["figures"]:
        raise InputError("This study's data names no objects, so it has figure 1 alone.")
    return dict(summary["figures"])


def _shares(counts: Sequence[int]) -> tuple[float, ...]:
    total = sum(counts) or 1
    return tuple(100 * count / total for count in counts)
