"""The parts of the README's results section, each made from summaries alone."""

from __future__ import annotations

from typing import Any

from adafv_core.study.report.published import LLAVA_NEXT_7B, SAME_AS_OURS
from adafv_core.study.report.summary_file import Summary
from adafv_core.study.report.tables import (
    labels_of,
    markdown,
    p_text,
    ratios_of,
    reduction,
    row_at,
    value_text,
    with_interval,
)
from adafv_core.study.run.configs import BOUNDS
from adafv_core.study.run.progress import duration

EXPECTED = {0.25: 98.5, 0.1: 96.0, 0.05: 94.4}
"""Percent of full accuracy that AdaFV is expected to keep: the paper's averages on LLaVA-NeXT-7B."""


def what(summary: Summary) -> str:
    """Which model, which data, which machine, how fast."""
    machine = summary["machines"][-1]
    speed = ""
    if summary["answers_per_s"]:
        speed = (
            f" The {summary['answers']:,} answers took {duration(summary['seconds'])} "
            f"({summary['answers_per_s']:g} a second)"
        )
    place = f" on {machine['device']}" if machine["device"] != "cpu" else ""
    threads = f", {machine['threads']} thread{'s' * (machine['threads'] != 1)} on {machine['cores']} cores"
    unseen = " that neither training nor any choice used" if summary["data"]["name"] == "pocket study" else ""
    return (
        f"Model `{summary['model']['name']}` (weights {summary['model']['weights']}, {summary['model']['dtype']}), "
        f"data set “{summary['data']['name']}”: {summary['questions']:,} questions on {summary['pictures']:,} pictures"
        f"{unseen}.{speed}{place} ({machine['processor']}{threads}). In brackets: 95 % intervals from a bootstrap over "
        "pictures."
    )


def main_table(summary: Summary) -> str:
    """Accuracy of all questions together, and percent of full, a row a method."""
    ratios = ratios_of(summary)
    header = ["method", *(f"{reduction(ratio)}: accuracy, %" for ratio in ratios)]
    header += [f"{reduction(ratio)}: % of full" for ratio in ratios]
    lines = []
    for label in labels_of(summary):
        found = [row_at(summary, label, ratio) for ratio in ratios]
        shown = [with_interval(row["accuracy"]) if row else "–" for row in found]
        shown += [value_text(row["percent_of_full"]["value"]) if row else "–" for row in found]
        name = f"**`{label}`**" if label == "adafv" else f"`{label}`"
        lines.append([name, *shown])
    return markdown(header, lines)


def family_table(summary: Summary, ratio: float, labels: tuple[str, ...]) -> str:
    """Accuracy of each question family at one keep ratio."""
    families = [*summary["families"], *summary["groups"]]
    there = [label for label in labels if row_at(summary, label, ratio)]
    lines = []
    for family in families:
        cells = []
        n = 0
        for label in there:
            row = row_at(summary, label, ratio) or {}
            found = {**row["families"], **row["groups"]}[family]
            n = found["n"]
            cells.append(with_interval(found["accuracy"]))
        lines.append([f"{family} ({n})", *cells])
    return markdown(["questions", *(f"`{label}`" for label in there)], lines)


def expectation(summary: Summary) -> str:
    """Whether AdaFV keeps what the paper's averages lead one to expect, and is clear of the plain baselines."""
    lines = []
    for ratio, wanted in EXPECTED.items():
        row = row_at(summary, "adafv", ratio)
        if row is None:
            continue
        found = row["percent_of_full"]
        verdict = "reached" if (found["value"] or 0) >= wanted else "**not reached**"
        mean = row["mean_percent_of_full"]["value"]
        lines.append(
            f"- {reduction(ratio)}: AdaFV keeps {with_interval(found)} % of full accuracy (mean of the families: "
            f"{mean or 0:.1f} %); the paper's average is {wanted} %: {verdict}.{_clear_of(summary, ratio)}"
        )
    return "\n".join(lines)


def _clear_of(summary: Summary, ratio: float) -> str:
    """Where AdaFV's text side is, and whether its interval overlaps that of saliency or of random."""
    own = row_at(summary, "adafv", ratio) or {}
    said = (
        f" On average k_text is {100 * own['text_share']:.0f} % and k_visual {100 * own['visual_share']:.0f} % of its "
    )
    said += f"{own['kept']:g} tokens (one that is in both heads is paid for once)."
    for label in ("saliency", "random"):
        row = row_at(summary, label, ratio)
        if row is not None and (own["accuracy"]["low"] or 0) <= (row["accuracy"]["high"] or 0):
            said += f" Its interval overlaps that of `{label}`."
    return said


def paired_table(summary: Summary) -> str:
    """AdaFV minus each other method on the same questions, in points of accuracy."""
    lines = []
    for test in summary["paired"]:
        if test["other"] in BOUNDS or test["keep"] == 1:
            continue
        difference = with_interval(test["difference"], 2)
        lines.append(
            [
                f"`{test['other']}`",
                reduction(test["keep"]),
                difference,
                p_text(test["p_bootstrap"]),
                f"{test['only_first']} / {test['only_other']}",
                p_text(test["p_mcnemar"]),
            ]
        )
    header = ["AdaFV against", "reduction", "difference, points", "p (bootstrap over pictures)"]
    return markdown([*header, "only AdaFV right / only the other", "p (McNemar)"], lines)


def not_won(summary: Summary) -> str:
    """Every place where AdaFV is not the best: behind or level with a method, and families where another leads."""
    lines = []
    for ratio in ratios_of(summary):
        tests = [test for test in summary["paired"] if test["keep"] == ratio]
        behind = [test for test in tests if test["difference"]["high"] < 0]
        level = [test for test in tests if test["difference"]["low"] <= 0 <= test["difference"]["high"]]
        said = []
        if behind:
            said.append("it is behind " + _list([_points(test) for test in behind]))
        if level:
            said.append("it cannot be told from " + _list([_points(test) for test in level]))
        if leads := _leaders(summary, ratio):
            said.append("other methods lead on " + _list(leads))
        lines.append(f"- {reduction(ratio)}: " + ("; ".join(said) if said else "it leads everywhere") + ".")
    return "\n".join(lines)


def published_table(summary: Summary) -> str:
    """The published averages beside ours, percent of full."""
    lines = []
    for row in LLAVA_NEXT_7B:
        if row.reduction == 0:
            continue
        ours = row_at(summary, SAME_AS_OURS.get(row.method, ""), round(1 - row.reduction, 4))
        lines.append(
            [
                f"−{100 * row.reduction:.0f} %",
                row.method,
                *(f"{score:g}" for score in row.scores),
                f"{row.average:.2f}",
                f"{ours['mean_percent_of_full']['value'] or 0:.1f} (`{ours['row']}`)" if ours else "–",
            ]
        )
    header = ["reduction", "method", "GQA", "SQA-IMG", "TextVQA", "POPE", "MME", "MMB", "MM-Vet"]
    return markdown([*header, "average, % of full", "ours, mean of families, % of full"], lines)


def figures_said(summary: Summary) -> str:
    """Figures 2 to 4 in two sentences."""
    if not summary["figures"]:
        return "The data name no objects, so there are no figures 2 to 4."
    auc, hit = summary["figures"]["auc"], summary["figures"]["hit"]
    return (
        f"AUC for “is this token on the object that the question names”: {auc['t2i']['mean']:.3f} for T2I attention, "
        f"{auc['saliency']['mean']:.3f} for saliency (mean of {auc['t2i']['n']:,} questions that name one). Tokens to "
        f"keep, of {hit['visual_tokens']:g}, so that one is on it, mean (95th percentile): T2I {_needed(hit['t2i'])}, "
        f"saliency {_needed(hit['saliency'])}, AdaFV {_needed(hit['adafv'])}; by chance {hit['random']['mean']:.1f}."
    )


def _needed(found: dict[str, Any]) -> str:
    return f"{found['mean']:.1f} ({found['quantiles']['95']:g})"


def _points(test: dict[str, Any]) -> str:
    return f"`{test['other']}` ({with_interval(test['difference'])} points)"


def _leaders(summary: Summary, ratio: float) -> list[str]:
    """ "counting (`divprune` 61.0, AdaFV 58.2)" for each family where another method's accuracy is higher."""
    own = row_at(summary, "adafv", ratio)
    rows = [
        row
        for label in labels_of(summary)
        if label not in (*BOUNDS, "full", "adafv") and (row := row_at(summary, label, ratio)) is not None
    ]
    if own is None or not rows:
        return []
    found = []
    for family in summary["families"]:
        best = max(rows, key=lambda row: row["families"][family]["accuracy"]["value"])
        theirs, ours = (row["families"][family]["accuracy"]["value"] for row in (best, own))
        if theirs > ours:
            found.append(f"{family} (`{best['row']}` {theirs:.1f}, AdaFV {ours:.1f})")
    return found


def _list(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
