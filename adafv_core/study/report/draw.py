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
    accuracy,
    auc_by_family,
    auc_of_questions,
    hits,
    similarity,
)
from adafv_core.study.report.summary_file import Summary, read_summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIGURES: dict[str, tuple[Callable[[Summary], FigureData], ...]] = {
    "figure-1": (accuracy,),
    "figure-2": (auc_by_family, auc_of_questions),
    "figure-3": (similarity,),
    "figure-4": (hits,),
}
"""The plots that are side by side in each picture."""
_MARKERS = ("o", "s", "D", "P", "^", "X", "*", "h", "p", "v")
_DASHES = ("-", "--", ":", "-.", (0, (8, 3)))
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
                canvas = Figure(figsize=(7.4 if len(plots) == 1 else 11.6, 4.4 if figure == "figure-1" else 3.7))
                canvas.set_layout_engine("constrained")
                for axes, make in zip(canvas.subplots(1, len(plots), squeeze=False)[0], plots, strict=True):
                    _draw(axes, make(summary))
                files.append(folder / f"{name}-{figure}.png")
                canvas.savefig(files[-1], dpi=110, metadata={"Software": None}, pil_kwargs={"optimize": True})
    return files


def _draw(axes: Axes, data: FigureData) -> None:
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
    if data.kind == "points":
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    elif data.kind == "bars":
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.24), ncols=len(data.series))
    else:
        axes.legend(loc="lower right" if data.kind == "steps" else "best")


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
