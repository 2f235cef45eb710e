"""Figures 1 to 4 of a study as PNG: `python -m adafv_core.study.report.draw assets/results/pocket.json`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from adafv_core.errors import AdaFVError, InputError
from adafv_core.study.report.plotting import Chart, beside
from adafv_core.study.report.summary_file import Summary, read_summary
from adafv_core.study.report.tables import labels_of, ratios_of, row_at

COLORS = {
    "adafv": "#0b62a4",
    "full": "#1b2026",
    "oracle": "#8a8f94",
    "blind": "#b9bdc1",
    "t2i": "#e07b00",
    "saliency": "#b5179e",
    "fixed_mix": "#1a936f",
    "random": "#a0522d",
    "adav_authors": "#56a3e0",
    "visionzip": "#7a5cc7",
    "vispruner": "#c9a400",
    "divprune": "#4c7a34",
    "fastv": "#d1495b",
}
_SPARE = ("#0b62a4", "#e07b00", "#1a936f", "#b5179e", "#a0522d", "#7a5cc7", "#c9a400", "#d1495b")
NAMES = {"t2i": "T2I attention", "saliency": "[CLS] saliency", "adafv": "AdaFV's mixture", "random": "random order"}


def color_of(label: str, place: int) -> str:
    """A row's color; rows with options take spare ones by place."""
    return COLORS.get(label, _SPARE[place % len(_SPARE)])


def figure_1(summary: Summary) -> Image.Image:
    """Accuracy against reduction with 95 % intervals; the axis is logarithmic in what is kept."""
    ratios = [1.0, *ratios_of(summary)]
    values = [row["accuracy"]["value"] for row in summary["rows"]]
    low = max(0, 10 * int(min(values) // 10))
    chart = Chart(
        "Figure 1 · accuracy against reduction",
        "visual tokens dropped",
        "right answers, %",
        (ratios[0] * 1.15, ratios[-1] * 0.87),
        (low, 100),
        [(ratio, f"{100 * (1 - ratio):.3g} %") for ratio in ratios],
        [(value, str(value)) for value in range(low, 101, 10)],
        width=720,
        height=440,
        log_x=True,
    )
    labels = sorted(labels_of(summary), key=lambda label: label == "adafv")
    full = row_at(summary, "full", 1.0)
    for place, label in enumerate(labels):
        color = color_of(label, place)
        own = ratios[1:] if label == "blind" else ratios
        found = [(ratio, row) for ratio in own if (row := row_at(summary, label, ratio)) is not None]
        if label != "blind" and full is not None and found and found[0][0] < 1:
            found.insert(0, (1.0, full))
        for ratio, row in found:
            if ratio < 1 and label != "full" and row["accuracy"]["low"] is not None:
                chart.error_bar(ratio, row["accuracy"]["low"], row["accuracy"]["high"], color)
        points = [(ratio, row["accuracy"]["value"]) for ratio, row in found]
        chart.line(points, color, label, 3.0 if label == "adafv" else 1.4, place)
    return chart.finished()


def figure_2(summary: Summary) -> Image.Image:
    """AUC for "is this token on the named object": mean by family, and distribution over questions."""
    auc = _figures(summary)["auc"]
    families = list(auc["t2i"]["families"])
    ticks = [(value / 10, f"{value / 10:.1f}") for value in range(0, 11, 2)]
    bars = Chart(
        "Figure 2a · mean AUC",
        "",
        "AUC",
        (0, len(families) + 1),
        (0, 1),
        [(place + 0.5, name) for place, name in enumerate(["all", *families])],
        ticks,
        width=640,
        height=360,
        legend_width=130,
    )
    for number, name in enumerate(("t2i", "saliency")):
        means = [auc[name]["mean"], *(auc[name]["families"][family] for family in families)]
        for place, mean in enumerate(means):
            left = place + 0.14 + 0.37 * number
            bars.bar(left, left + 0.34, mean, COLORS[name], NAMES[name])
    shares = {name: _shares(auc[name]["counts"]) for name in ("t2i", "saliency")}
    top = max(max(one) for one in shares.values())
    steps = Chart(
        "Figure 2b · AUC of each question",
        "AUC",
        "share of questions, %",
        (0, 1),
        (0, 1.05 * top),
        ticks,
        _round_ticks(top),
        width=480,
        height=360,
        legend_width=130,
    )
    for name, share in shares.items():
        steps.steps(auc["edges"], share, COLORS[name], NAMES[name])
    return beside([bars.finished(), steps.finished()])


def figure_3(summary: Summary) -> Image.Image:
    """Distribution of T2I similarity over tokens on the named objects and off them."""
    found = _figures(summary)["similarity"]
    shares = {side: _shares(found[side]) for side in ("on", "off")}
    filled = [place for place in range(len(found["on"])) if found["on"][place] or found["off"][place]]
    first, last = filled[0], filled[-1] + 1
    edges, top = found["edges"], max(max(one) for one in shares.values())
    chart = Chart(
        "Figure 3 · T2I similarity",
        "cosine of the token and the word nearest to it",
        "share of tokens, %",
        (edges[first], edges[last]),
        (0, 1.05 * top),
        _edge_ticks(edges[first : last + 1]),
        _round_ticks(top),
        width=640,
        height=360,
    )
    for side, color, name in (("off", "#8a8f94", "off the object"), ("on", COLORS["t2i"], "on the object")):
        chart.steps(edges[first : last + 1], shares[side][first:last], color, name)
    return chart.finished()


def figure_4(summary: Summary) -> Image.Image:
    """Share of questions for which the first k tokens of a ranking hold one on the named object."""
    found = _figures(summary)["hit"]
    budgets = found["budgets"]
    ticks = [budget for budget in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if budget <= budgets[-1]]
    chart = Chart(
        "Figure 4 · tokens to keep to hit the object",
        "visual tokens kept",
        "questions hit, %",
        (1, budgets[-1]),
        (0, 100),
        [(tick, str(tick)) for tick in ticks],
        [(value, str(value)) for value in range(0, 101, 20)],
        width=680,
        height=360,
        legend_width=190,
        log_x=True,
    )
    for name in ("saliency", "t2i", "adafv"):
        share = [(budget, 100 * hit) for budget, hit in zip(budgets, found[name]["share_hit"], strict=True)]
        chart.line(share, COLORS[name], f"{NAMES[name]}: mean {found[name]['mean']:.1f}", 2.0)
    return chart.finished()


def _figures(summary: Summary) -> dict[str, Any]:
    if not summary["figures"]:
        raise InputError("This study's data names no objects, so it has figure 1 alone.")
    return dict(summary["figures"])


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts) or 1
    return [100 * count / total for count in counts]


def _edge_ticks(edges: Sequence[float]) -> list[tuple[float, str]]:
    """At most seven round values within the edges."""
    wide = edges[-1] - edges[0]
    step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if wide / step <= 6)
    first, last = round(edges[0] / step + 0.499), round(edges[-1] / step - 0.499)
    return [(place * step, f"{place * step + 0.0:.2f}") for place in range(first, last + 1)]


def _round_ticks(top: float) -> list[tuple[float, str]]:
    step = next(step for step in (1, 2, 5, 10, 20, 50) if top / step <= 6)
    return [(float(value), str(value)) for value in range(0, int(top) + 1, step)]


FIGURES: dict[str, Callable[[Summary], Image.Image]] = {
    "figure-1": figure_1,
    "figure-2": figure_2,
    "figure-3": figure_3,
    "figure-4": figure_4,
}


def draw(summary: Summary, folder: Path, name: str) -> list[Path]:
    """Write NAME-figure-1.png … into a folder; figure 1 alone where no objects are known."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for figure, make in FIGURES.items():
        if (figure == "figure-1" and summary["rows"]) or (figure != "figure-1" and summary["figures"]):
            files.append(folder / f"{name}-{figure}.png")
            make(summary).save(files[-1], optimize=True)
    return files


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m adafv_core.study.report.draw", description=__doc__)
    parser.add_argument("summary", type=Path, help="a summary that a study wrote")
    parser.add_argument("--out", type=Path, help="folder for the pictures [the summary's]")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
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
