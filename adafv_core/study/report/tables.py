"""A study's summary as text tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adafv_core.study.report.summary_file import Summary
from adafv_core.study.run.configs import flops_label, row_title, share_of_flops


def ratios_of(summary: Summary) -> list[float]:
    """Keep ratios below 1, largest first."""
    found = {row["keep"] for row in summary["rows"] if row["keep"] is not None and row["keep"] < 1}
    return sorted(found, reverse=True)


def labels_of(summary: Summary) -> list[str]:
    """Labels of the rows with keep ratios, as asked, without the further runs of `random`."""
    labels = dict.fromkeys(row["row"] for row in summary["rows"])
    return [label for label in labels if not label.startswith("random seed=") and share_of_flops(label) is None]


def flops_shares_of(summary: Summary) -> list[float]:
    """Shares of the full prefill's FLOPs that rows were asked for, largest first."""
    shares = {share_of_flops(row["row"]) for row in summary["rows"]} - {None}
    return sorted((share for share in shares if share is not None), reverse=True)


def flops_labels_of(summary: Summary) -> list[str]:
    """Labels of the rows with shares of FLOPs, without the share, as asked."""
    rows = [row["row"] for row in summary["rows"] if share_of_flops(row["row"]) is not None]
    return list(dict.fromkeys(label.partition(" flops_ratio=")[0] for label in rows))


def row_at_flops(summary: Summary, label: str, share: float) -> dict[str, Any] | None:
    """The entry of a row at a share of the full prefill's FLOPs; that of `full` at each."""
    return row_at(summary, label if label == "full" else flops_label(label, share), None)


def bold_title(label: str) -> str:
    """A row's title as a Markdown cell, AdaFV's own in bold."""
    return f"**{row_title(label)}**" if label == "adafv" else row_title(label)


def row_at(summary: Summary, label: str, keep: float | None) -> dict[str, Any] | None:
    """The entry of a row at a keep ratio. A row that is independent of the ratio is found at each."""
    for row in summary["rows"]:
        if row["row"] == label and (row["keep"] in (keep, None) or label == "full"):
            return dict(row)
    return None


def with_interval(found: dict[str, Any], digits: int = 1) -> str:
    """ "94.2 (93.1–95.2)"; only the value if there is no interval, "–" if there is no value."""
    low, high = found["low"], found["high"]
    value = value_text(found["value"], digits)
    if low is None or high is None:
        return value
    between = " to " if low < 0 else "–"
    return f"{value} ({value_text(low, digits)}{between}{value_text(high, digits)})"


def value_text(value: float | None, digits: int = 1) -> str:
    """ "−1.3"; "–" if there is no value."""
    return "–" if value is None else f"{value + 0.0:.{digits}f}".replace("-", "−")


def reduction(keep: float) -> str:
    """ "−90 %" for a keep ratio of 0.1."""
    return f"−{100 * (1 - keep):.4g} %"


def duration(seconds: float) -> str:
    """1:05 for 65 seconds, 2:00:01 for 7201."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def p_text(p: float) -> str:
    """A p-value for a table."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table. Line breaks and bars in cells (from a user's file) cannot break it."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def text_table(summary: Summary) -> str:
    """Accuracy in percent with 95 % intervals, and percent of full, one line per row, for the terminal."""
    ratios = ratios_of(summary)
    lines = [f"{'accuracy %, of full %':<28}" + "".join(f"{f'keep {ratio:.0%}':>32}" for ratio in ratios)]
    for label in labels_of(summary):
        cells = []
        for ratio in ratios or [1.0]:
            row = row_at(summary, label, ratio)
            shown = "–" if row is None else with_interval(row["accuracy"])
            of_full = "" if row is None else f" {value_text(row['percent_of_full']['value']):>6} %"
            cells.append(f"{shown + of_full:>32}")
        lines.append(f"{row_title(label):<28}" + "".join(cells))
    if shares := flops_shares_of(summary):
        lines.append(f"{'accuracy %, tokens kept':<28}" + "".join(f"{f'{share:.0%} of FLOPs':>32}" for share in shares))
    for label in flops_labels_of(summary):
        found = [row_at_flops(summary, label, share) for share in shares]
        cells = ["–" if row is None else f"{with_interval(row['accuracy'])} {row['kept']:>6g}" for row in found]
        lines.append(f"{row_title(label):<28}" + "".join(f"{cell:>32}" for cell in cells))
    return "\n".join(lines)
