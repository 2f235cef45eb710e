"""What the Study tab says about a summary: text, tables, and the command that measures it again."""

from __future__ import annotations

import re
import shlex
from typing import Any

from adafv_core.study.report import markdown as parts
from adafv_core.study.report.tables import labels_of, ratios_of, reduction, row_at
from adafv_core.study.run.configs import parse_configs

_LISTED = 10
_COMPARED = ("full", "adafv", "t2i", "saliency", "fixed_mix", "random", "oracle", "blind")


def overview(summary: dict[str, Any]) -> str:
    """What was measured, and every row's accuracy, as Markdown."""
    if not summary["rows"]:
        return f"Data set “{summary['data']['name']}” has no answers to judge: figures 2 to 4 alone."
    return f"{parts.what(summary)}\n\n{parts.main_table(summary)}{_left_out(summary)}"


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
            parts.not_won(summary),
            f"**By question family, {reduction(ratio)}**, accuracy in %",
            parts.family_table(summary, ratio, (*_COMPARED, *others)),
            "**AdaFV against each other method, on the same questions**",
            parts.paired_table(summary),
        )
    )


def beside_published(summary: dict[str, Any]) -> str:
    """The published LLaVA-NeXT-7B table with ours beside it, as Markdown."""
    if not summary["rows"]:
        return ""
    return (
        "Models and data differ: theirs is LLaVA-NeXT-7B on photographs. The pocket model's alignment was trained with "
        "the true masks of the drawn objects, so it shows the mechanism and not LLaVA's accuracy.\n\n"
        + parts.published_table(summary)
    )


def figures_line(summary: dict[str, Any]) -> str:
    """Figures 2 to 4 in words, for those who cannot see them."""
    return parts.figures_in_words(summary)


def command(summary: dict[str, Any]) -> str:
    """The command line that measures this again."""
    words = ["python", "-m", "adafv_core.study", "--model", summary["model"]["name"]]
    if summary["rows"]:
        words += ["--methods", *(_argument(label) for label in labels_of(summary))]
        words += ["--keep", *(f"{ratio:g}" for ratio in (1.0, *ratios_of(summary)))]
    name = summary["data"]["name"]
    if name in ("pocket study", "pocket validation"):
        words += ["--split", name.split()[1], "--scenes", str(summary["data"]["pictures"])]
    else:
        words += ["--images", "FOLDER", "--annotations", *(f"{one}.json" for one in name.split(" + "))]
    return shlex.join(words)


def _argument(label: str) -> str:
    """ "adafv floor=0.25" as the command line takes it: "adafv:floor=0.25"."""
    method, *options = label.split(" ")
    argument = f"{method}:{','.join(options)}" if options else method
    assert parse_configs([argument])[0].label == label
    return argument


def _left_out(summary: dict[str, Any]) -> str:
    """Budgets that a method cannot serve, and data that could not be used, as Markdown."""
    lines = [f"- `{one['row']}` at {one['keep']:g}: {one['why']}" for one in summary["left_out"]]
    omitted = summary.get("omitted", [])
    lines += [f"- {_plain(one['where'])}: {_plain(one['why'])}" for one in omitted[:_LISTED]]
    if len(omitted) > _LISTED:
        lines.append(f"- … and {len(omitted) - _LISTED:,} more, all in the summary")
    return "\n\nLeft out:\n\n" + "\n".join(lines) if lines else ""


def _plain(text: str) -> str:
    """Names from a visitor's files as text, whatever Markdown or HTML they would be."""
    return re.sub(r"([\\`*_{}\[\]()#+!|<>&~$-])", r"\\\1", " ".join(text.split()))


def headline(summary: dict[str, Any]) -> str:
    """One line for a menu: data, model, and what AdaFV keeps."""
    kept = [
        f"{reduction(ratio)}: {row['percent_of_full']['value'] or 0:.1f} %"
        for ratio in ratios_of(summary)
        if (row := row_at(summary, "adafv", ratio)) is not None
    ]
    said = f" · AdaFV keeps {', '.join(kept)} of full" if kept else ""
    return f"{summary['model']['name']} on {summary['data']['name']}{said}"
