"""A study summary as text for the Study tab: overview, tables, and the command that reproduces it."""

from __future__ import annotations

import re
import shlex
from typing import Any

from adafv_core.study.report import markdown
from adafv_core.study.report.tables import labels_of, ratios_of, reduction, row_at
from adafv_core.study.run.configs import row_title, share_of_flops

_LISTED = 10
_COMPARED = ("full", "adafv", "t2i", "saliency", "fixed_mix", "random", "oracle", "blind")


def overview(summary: dict[str, Any]) -> str:
    """What was measured, and the accuracy of every row, as Markdown."""
    if not summary["rows"]:
        return f"Data set “{summary['data']['name']}” has no reference answers: only figures 2 to 4 are shown."
    tables = [markdown.main_table(summary)] if ratios_of(summary) else []
    if flops := markdown.equal_flops_table(summary):
        tables.append(f"At equal prefill FLOPs:\n\n{flops}\n\n{markdown.ahead_at_equal_flops(summary)}")
    return "\n\n".join([markdown.overview(summary), *tables]) + _left_out(summary)


def details(summary: dict[str, Any]) -> str:
    """Question families, paired tests, and where AdaFV does not win, as Markdown."""
    if not summary["rows"] or "adafv" not in labels_of(summary):
        return ""
    ratios = ratios_of(summary)
    if not ratios:
        return ""
    ratio = 0.1 if 0.1 in ratios else ratios[0]
    others = tuple(label for label in labels_of(summary) if label not in _COMPARED)
    return "\n\n".join(
        (
            "**Where AdaFV does not win**",
            markdown.not_won(summary),
            f"**By question family, {reduction(ratio)}**, accuracy in %",
            markdown.family_table(summary, ratio, (*_COMPARED, *others)),
            "**AdaFV against each other method, on the same questions**",
            markdown.paired_table(summary),
        )
    )


def beside_published(summary: dict[str, Any]) -> str:
    """The published LLaVA-NeXT-7B table next to our results, as Markdown."""
    if not summary["rows"]:
        return ""
    return (
        "Models and data differ: the published results are for LLaVA-NeXT-7B on photographs. The pocket model's "
        "alignment was trained with the ground-truth masks of the drawn objects, so it shows the mechanism, not "
        "LLaVA's accuracy.\n\n" + markdown.published_table(summary)
    )


def figures_line(summary: dict[str, Any]) -> str:
    """Figures 2 to 4 in words, for readers who cannot see them."""
    return markdown.figures_in_words(summary)


def command(summary: dict[str, Any]) -> str:
    """The command line that reproduces this summary."""
    words = ["python", "-m", "adafv_core.study", "--model", summary["model"]["name"]]
    if summary["rows"]:
        rows = [*labels_of(summary), *(row["row"] for row in summary["rows"] if share_of_flops(row["row"]) is not None)]
        words += ["--methods", *map(_argument, rows)]
        words += ["--keep", *(f"{ratio:g}" for ratio in (1.0, *ratios_of(summary)))]
    name = summary["data"]["name"]
    if name in ("pocket study", "pocket validation"):
        words += ["--split", name.split()[1], "--scenes", str(summary["data"]["pictures"])]
    else:
        words += ["--images", "FOLDER", "--annotations", *(f"{one}.json" for one in name.split(" + "))]
    return shlex.join(words)


def _argument(label: str) -> str:
    """A row's label as a command-line argument: "adafv floor=0.25" → "adafv:floor=0.25"."""
    method, *options = label.split(" ")
    return f"{method}:{','.join(options)}" if options else method


def _left_out(summary: dict[str, Any]) -> str:
    """Budgets that a method cannot serve, and data that could not be used, as a Markdown list."""
    lines = []
    for one in summary["left_out"]:
        at = "" if one["keep"] is None else f" at {one['keep']:g}"
        lines.append(f"- {row_title(one['row'])}{at}: {one['why']}")
    omitted = summary.get("omitted", [])
    lines += [f"- {_plain(one['where'])}: {_plain(one['why'])}" for one in omitted[:_LISTED]]
    if len(omitted) > _LISTED:
        lines.append(f"- … and {len(omitted) - _LISTED:,} more, listed in the summary file")
    return "\n\nLeft out:\n\n" + "\n".join(lines) if lines else ""


def _plain(text: str) -> str:
    """Names from a user's files, escaped so that Markdown and HTML in them stay plain text."""
    return re.sub(r"([\\`*_{}\[\]()#+!|<>&~$-])", r"\\\1", " ".join(text.split()))


def headline(summary: dict[str, Any]) -> str:
    """One line for the menu: model, data set, and the share of full accuracy that AdaFV keeps."""
    kept = [
        f"{reduction(ratio)}: {row['percent_of_full']['value'] or 0:.1f} %"
        for ratio in ratios_of(summary)
        if (row := row_at(summary, "adafv", ratio)) is not None
    ]
    shares = f" · AdaFV keeps {', '.join(kept)} of full accuracy" if kept else ""
    return f"{summary['model']['name']} on {summary['data']['name']}{shares}"
