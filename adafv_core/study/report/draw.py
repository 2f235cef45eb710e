"""Figures 1 to 4 of a study as PNG: `python -m adafv_core.study.report.draw assets/results/pocket.json`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adafv_core.errors import AdaFVError, InputError
from adafv_core.study.report.figures import (
    FigureData,
    auc_by_family,
    auc_of_questions,
    before_the_llm,
    bounds_and_simple_rules,
    hits,
    inside_the_llm,
    similarity,
)
from adafv_core.study.report.summary_file import Summary, read_summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIGURES: dict[str, tuple[Callable[[Summary], FigureData], ...]] = {
    "figure-1": (bounds_and_simple_rules, before_the_llm, inside_the_llm),
    "figure-2": (auc_by_family, auc_of_questions),
    "figure-3": (similarity,),
    "figure-4": (hits,),
}
"""The plots that are side by side in each picture."""
_MARKERS = ("o", "s", "D", "P", "^", "X", "*", "h", "p", "v")
_DASHES = ("-", "--", ":", "-.", (0, (8, 3)))
_SIZES = {1: (7.4, 3.7), 2: (11.6, 3.7), 3: (13.6, 4.6)}
"""Inches, by the number of plots side by side."""
_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e3df",
    "legend.frameon": False,
}


def draw(summary: Summary, folder: Path, name: str) -> list[Path]:
    """Write NAME-figure-1.png … into a folder; only figure 1 if no objects are known.

    Raises InputError if matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("Drawing figures needs matplotlib; install it with: pip install 'adafv[study]'") from None
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for figure, plots in FIGURES.items():
        if (figure == "figure-1" and summary["rows"]) or (figure != "figure-1" and summary["figures"]):
            with rc_context(_STYLE):
                canvas = Figure(figsize=_SIZES[len(plots)])
                canvas.set_layout_engine("constrained")
                for axes, make in zip(canvas.subplots(1, len(plots), squeeze=False)[0], plots, strict=True):
                    draw_panel(axes, make(summary))
                files.append(folder / f"{name}-{figure}.png")
                canvas.savefig(files[-1], dpi=110, metadata={"Software": None}, pil_kwargs={"optimize": True})
    return files


def draw_panel(axes: Axes, data: FigureData) -> None:
    """One plot, on these axes."""
    axes.set(title=data.title, xlabel=data.x_label, ylabel=data.y_label)
    axes.set_axisbelow(True)
    for number, one in enumerate(data.series):
        width = 2.6 if one.main else 1.5
        dashes = "-" if one.main else _DASHES[one.style % len(_DASHES)]
        if data.kind == "bars":
            left = [place + 0.4 * (number - (len(data.series) - 1) / 2) for place in range(len(one.y))]
            axes.bar(left, one.y, 0.38, color=one.color, label=one.name)
        elif data.kind == "outlines":
            axes.stairs(one.y, one.x, color=one.color, linewidth=1.6, label=one.name)
            axes.stairs(one.y, one.x, color=one.color, alpha=0.22, fill=True)
        elif data.kind == "steps":
            axes.step(one.x, one.y, where="post", color=one.color, linestyle=dashes, linewidth=2, label=one.name)
        else:
            ends = (
                [value - (value if end is None else end) for value, end in zip(one.y, one.low, strict=True)],
                [(value if end is None else end) - value for value, end in zip(one.y, one.high, strict=True)],
            )
            marker = _MARKERS[one.style % len(_MARKERS)]
            axes.errorbar(
                one.x,
                one.y,
                ends,
                color=one.color,
                linestyle=dashes,
                linewidth=width,
                elinewidth=1,
                capsize=2.5,
                marker=marker,
                markersize=7 if one.main else 5,
                label=one.name,
            )
    if data.log_x:
        axes.set_xscale("log")
        axes.minorticks_off()
    if data.ticks:
        axes.set_xticks([at for at, _ in data.ticks], [label for _, label in data.ticks])
    if data.categories:
        places = range(len(data.categories))
        axes.set_xticks(places, data.categories, rotation=30, ha="right", rotation_mode="anchor")
    if data.y_range is not None:
        axes.set_ylim(*data.y_range)
    if data.reversed_x:
        axes.invert_xaxis()
    if data.labels_in_place:
        _name_lines(axes, data)
    elif data.kind == "points":
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    elif data.kind == "bars":
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.24), ncols=len(data.series))
    else:
        axes.legend(loc="lower right" if data.kind == "steps" else "best")


def _name_lines(axes: Axes, data: FigureData) -> None:
    """The name of each line to the right of the plot, at the height where it ends; crowded ones are moved apart."""
    low, high = data.y_range or axes.get_ylim()
    gap = 0.052 * (high - low)
    ends = sorted((one for one in data.series if one.y), key=lambda one: one.y[-1])
    places: list[float] = []
    for one in ends:
        places.append(max(one.y[-1], places[-1] + gap) if places else one.y[-1])
    above = high
    for number in range(len(places) - 1, -1, -1):
        places[number] = above = min(places[number], above)
        above -= gap
    for one, place in zip(ends, places, strict=True):
        axes.annotate(
            one.name,
            (one.x[-1], one.y[-1]),
            (1.06, place),
            textcoords=("axes fraction", "data"),
            color=one.color,
            fontsize=8.5,
            fontweight="bold" if one.main else "normal",
            verticalalignment="center",
            arrowprops={
                "arrowstyle": "-",
                "relpos": (0, 0.5),
                "color": one.color,
                "linewidth": 0.7,
                "shrinkA": 1,
                "shrinkB": 4,
            },
            annotation_clip=False,
        )


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m adafv_core.study.report.draw", description=__doc__)
    parser.add_argument("summary", type=Path, help="a summary that a study wrote")
    parser.add_argument("--out", type=Path, help="folder for the pictures [the summary's]")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw all figures of a summary and print their paths. Returns 0, or 2 on wrong input."""
    options = make_parser().parse_args(arguments)
    try:
        for file in draw(read_summary(options.summary), options.out or options.summary.parent, options.summary.stem):
            print(file)
    except AdaFVError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
