"""Sections of the results documents and of the Study tab, each generated from a summary."""

from __future__ import annotations

from typing import Any

from adafv_core.study.measure.bounds import BOUNDS
from adafv_core.study.report.published import LLAVA_NEXT_7B, SAME_AS_OURS
from adafv_core.study.report.summary_file import Summary
from adafv_core.study.report.tables import (
    bold_title,
    duration,
    flops_labels_of,
    flops_shares_of,
    labels_of,
    markdown,
    p_text,
    ratios_of,
    reduction,
    row_at,
    row_at_flops,
    value_text,
    with_interval,
)
from adafv_core.study.run.configs import row_title, share_of_flops

EXPECTED = {0.25: 98.5, 0.1: 96.0, 0.05: 94.4}
"""Percent of full accuracy that AdaFV keeps on LLaVA-NeXT-7B: the paper's averages, by keep ratio."""


def overview(summary: Summary) -> str:
    """The model, the data set, the machine and the speed."""
    machine = summary["machines"][-1]
    speed = ""
    if summary["answers_per_s"]:
        speed = (
            f" The {summary['answers']:,} answers took {duration(summary['seconds'])} "
            f"({summary['answers_per_s']:g} per second)"
        )
    place = f" on {machine['device']}" if machine["device"] != "cpu" else ""
    threads = f", {machine['threads']} thread{'s' * (machine['threads'] != 1)} on {machine['cores']} cores"
    unseen = " used neither in training nor for any design choice" if summary["data"]["name"] == "pocket study" else ""
    return (
        f"Model `{summary['model']['name']}` (weights {summary['model']['weights']}, {summary['model']['dtype']}), "
        f"data set “{summary['data']['name']}”: {summary['questions']:,} questions on {summary['pictures']:,} images"
        f"{unseen}.{speed}{place} ({machine['processor']}{threads}). In parentheses: 95 % intervals from a bootstrap "
        "over images."
    )


def main_table(summary: Summary) -> str:
    """Accuracy over all questions, and percent of full accuracy, one row per method."""
    ratios = ratios_of(summary)
    header = ["method", *(f"{reduction(ratio)}: accuracy, %" for ratio in ratios)]
    header += [f"{reduction(ratio)}: % of full" for ratio in ratios]
    lines = []
    for label in labels_of(summary):
        found = [row_at(summary, label, ratio) for ratio in ratios]
        shown = [with_interval(row["accuracy"]) if row else "–" for row in found]
        shown += [value_text(row["percent_of_full"]["value"]) if row else "–" for row in found]
        lines.append([bold_title(label), *shown])
    return markdown(header, lines)


def small_table(summary: Summary, labels: tuple[str, ...]) -> str:
    """Percent of full accuracy, one row per method; the accuracy with all tokens stands in the header."""
    ratios = ratios_of(summary)
    full = row_at(summary, "full", 1.0)
    of_what = f" ({full['accuracy']['value']:.1f} %)" if full else ""
    lines = []
    for label in labels:
        found = [row_at(summary, label, ratio) for ratio in ratios]
        lines.append(
            [bold_title(label), *(value_text(row["percent_of_full"]["value"]) if row else "–" for row in found)]
        )
    return markdown([f"% of full accuracy{of_what} kept at", *map(reduction, ratios)], lines)


def against_the_paper(summary: Summary) -> str:
    """One sentence: the accuracy AdaFV retains, and whether it reaches the paper's averages."""
    found = {ratio: row for ratio in EXPECTED if (row := row_at(summary, "adafv", ratio))}
    values = {ratio: row["percent_of_full"]["value"] or 0 for ratio, row in found.items()}
    reached = [ratio for ratio, value in values.items() if value >= EXPECTED[ratio]]
    if not reached:
        verdict = "which is not reached"
    elif len(reached) == len(values):
        verdict = "which is reached"
    else:
        verdict = "reached at " + _list([reduction(ratio) for ratio in reached])
    return (
        f"AdaFV keeps {_list([f'{value:.1f}' for value in values.values()])} % of full accuracy; the paper's averages "
        f"on LLaVA-NeXT-7B are {_list([f'{EXPECTED[ratio]:.1f}' for ratio in values])} %, {verdict} here."
    )


def behind(summary: Summary) -> str:
    """One sentence: which methods are ahead of AdaFV on the same questions, by reduction."""
    texts = []
    for ratio in ratios_of(summary):
        names = [row_title(test["other"]) for test in _ahead(summary, ratio)]
        texts.append(f"{_list(names) if names else 'no method'} at {reduction(ratio)}")
    holm = f", corrected for {summary['holm']['tests']} tests" if summary.get("holm") else ""
    return f"More accurate than AdaFV on the same questions, at 95 % confidence{holm}: {', '.join(texts)}."


def _ahead(summary: Summary, ratio: float) -> list[dict[str, Any]]:
    """Paired tests that the other method wins."""
    return [test for test in summary["paired"] if test["keep"] == ratio and verdict_of(test) == "behind"]


def verdict_of(test: dict[str, Any]) -> str:
    """Of AdaFV: "ahead", "behind" or "level", after Holm; by the interval in summaries of version 0.1."""
    low, high = test["difference"]["low"], test["difference"]["high"]
    return str(test.get("verdict") or ("behind" if high < 0 else "ahead" if low > 0 else "level"))


def family_table(summary: Summary, ratio: float, labels: tuple[str, ...]) -> str:
    """Accuracy of each question family at one keep ratio."""
    families = [*summary["families"], *summary["groups"]]
    present = [label for label in labels if row_at(summary, label, ratio)]
    lines = []
    for family in families:
        cells = []
        n = 0
        for label in present:
            row = row_at(summary, label, ratio) or {}
            found = {**row["families"], **row["groups"]}[family]
            n = found["n"]
            cells.append(with_interval(found["accuracy"]))
        lines.append([f"{family} ({n})", *cells])
    return markdown(["questions", *map(row_title, present)], lines)


def expectation(summary: Summary) -> str:
    """Whether AdaFV reaches the paper's averages, and whether it is clearly ahead of the plain baselines."""
    lines = []
    for ratio, wanted in EXPECTED.items():
        row = row_at(summary, "adafv", ratio)
        if row is None:
            continue
        found = row["percent_of_full"]
        verdict = "reached" if (found["value"] or 0) >= wanted else "**not reached**"
        mean = row["mean_percent_of_full"]["value"]
        lines.append(
            f"- {reduction(ratio)}: AdaFV keeps {with_interval(found)} % of full accuracy (mean over the families: "
            f"{mean or 0:.1f} %); the paper's average is {wanted} %: {verdict}.{_clear_of(summary, ratio)}"
        )
    return "\n".join(lines)


def _clear_of(summary: Summary, ratio: float) -> str:
    """How AdaFV splits the budget, and whether its interval overlaps that of saliency or of random."""
    own = row_at(summary, "adafv", ratio) or {}
    text = (
        f" On average k_text is {100 * own['text_share']:.0f} % and k_visual {100 * own['visual_share']:.0f} % of its "
    )
    text += f"{own['kept']:g} tokens (a token in both top-k sets counts once)."
    for label in ("saliency", "random"):
        row = row_at(summary, label, ratio)
        if row is not None and (own["accuracy"]["low"] or 0) <= (row["accuracy"]["high"] or 0):
            text += f" Its interval overlaps that of {row_title(label)}."
    return text


def paired_table(summary: Summary) -> str:
    """AdaFV minus each other method on the same questions, in points of accuracy."""
    lines = []
    for test in summary["paired"]:
        if test["other"] in BOUNDS or test["keep"] in (1, None):
            continue
        difference = with_interval(test["difference"], 2)
        lines.append(
            [
                row_title(test["other"]),
                reduction(test["keep"]),
                difference,
                p_text(test["p_bootstrap"]),
                f"{test['only_first']} / {test['only_other']}",
                p_text(test["p_mcnemar"]),
                p_text(test["p_holm"]) if "p_holm" in test else "–",
                verdict_of(test),
                value_text(test.get("detectable"), 2),
                f"{test['n_for_a_point']:,}" if "n_for_a_point" in test else "–",
            ]
        )
    header = ["AdaFV against", "reduction", "difference, points", "p (bootstrap over images)"]
    header += ["only AdaFV right / only the other", "p (McNemar)", "p after Holm", "AdaFV is"]
    return markdown([*header, "detectable, points", "questions for one point"], lines)


def how_sure(summary: Summary) -> str:
    """What the paired tests are corrected for, what they can find, and how far runs of `random` are apart."""
    holm = summary.get("holm")
    if not holm:
        return ""
    (small, large), (few, many) = holm["detectable"], holm["n_for_a_point"]
    text = (
        f"Differences are paired by question, with a bootstrap over images (questions about one image go together). "
        f"“Ahead”, “behind” and “level” are after Holm's correction over all {holm['tests']} tests (methods × ratios) "
        f"at the 5 % level. With a power of 80 %, {summary['questions']:,} questions find a difference of "
        f"{small:.1f} to {large:.1f} points, by pair; a difference of one point would need {few:,} to {many:,}."
    )
    if summary.get("seeds"):
        runs = [
            f"{one['mean']:.1f} ± {one['sd']:.1f} % at {reduction(one['keep'])} "
            f"({min(one['accuracies']):.1f} to {max(one['accuracies']):.1f})"
            for one in summary["seeds"]
        ]
        text += f" {summary['seeds'][0]['runs']} runs of Random, mean ± standard deviation: {_list(runs)}."
    return text


FIDELITY = (
    "Loyalty: questions answered as with all tokens. Flips: answers that were right with all tokens and are wrong "
    "now / the other way round. ΔNLL: how much less likely the run finds the answer given with all tokens, nats a "
    "question. KL: of the first token's distribution from that with all tokens, nats. ECE: expected calibration "
    "error, of the first token's probability. FLOPs: of the LLM's prefill, by formula. “–”: not recorded by the "
    "version that measured the row."
)


def beside_accuracy(summary: Summary) -> str:
    """What the columns of `fidelity_table` mean, and on how many questions they were measured."""
    known = {row["delta_nll"]["n"] for row in summary["rows"] if row.get("delta_nll")}
    if not known or known == {summary["questions"]}:
        return FIDELITY
    few, many = min(known), max(known)
    count = f"{few:,}" if few == many else f"{few:,} to {many:,}"
    return f"{FIDELITY} ΔNLL, KL, ECE and FLOPs: on the first {count} of the {summary['questions']:,} questions."


def fidelity_table(summary: Summary, ratio: float) -> str:
    """How far each row departs from `full` at one keep ratio, and its share of the prefill's FLOPs."""
    lines = []
    for label in labels_of(summary):
        row = row_at(summary, label, ratio)
        if row is None or "loyalty" not in row:
            continue
        flops = row["flops"] or {}
        lines.append(
            [
                bold_title(label),
                with_interval(row["loyalty"]),
                f"{row['flips']['lost']} / {row['flips']['gained']}",
                with_interval(row["delta_nll"], 2) if row["delta_nll"] else "–",
                with_interval(row["kl"], 2) if row["kl"] else "–",
                value_text(row["ece"]),
                value_text(flops.get("percent_of_full")),
            ]
        )
    header = ["method", "loyalty, %", "flips: lost / gained", "ΔNLL", "KL", "ECE, %", "prefill FLOPs, % of full"]
    return markdown(header, lines)


def equal_flops_table(summary: Summary) -> str:
    """Accuracy and tokens kept where every method may spend the same share of the prefill; "" without such rows."""
    shares = flops_shares_of(summary)
    if not shares:
        return ""
    lines = []
    for label in ("full", *flops_labels_of(summary)):
        found = [row_at_flops(summary, label, share) for share in shares]
        cells = [with_interval(row["accuracy"]) if row else "–" for row in found]
        cells += [f"{row['kept']:g}" if row else "–" for row in found]
        lines.append([bold_title(label), *cells])
    header = ["method", *(f"{100 * share:g} % of FLOPs: accuracy, %" for share in shares)]
    return markdown([*header, *(f"{100 * share:g} %: tokens kept" for share in shares)], lines)


def ahead_at_equal_flops(summary: Summary) -> str:
    """One sentence: which methods are ahead of AdaFV and which behind it, by share of the prefill's FLOPs."""
    texts = []
    for share in flops_shares_of(summary):
        tests = [test for test in summary["paired"] if share_of_flops(test["other"]) == share]
        for says, outcome in (("ahead of", "behind"), ("behind", "ahead")):
            names = [
                row_title(test["other"].partition(" flops_ratio=")[0]) for test in tests if verdict_of(test) == outcome
            ]
            texts.append(f"{says} AdaFV at {100 * share:g} %: {_list(names) if names else 'none'}")
    return f"By the same paired tests, {'; '.join(texts)}. All others are level with it."


def downsample_table(summary: Summary) -> str:
    """Accuracy on the questions that a smaller image at the same number of tokens gets wrong; "" without that row."""
    ratios = [ratio for ratio in ratios_of(summary) if (row_at(summary, "downsample", ratio) or {}).get("flips")]
    if not ratios:
        return ""
    lines: list[list[str]] = []
    counts: dict[float, int] = {}
    for label in labels_of(summary):
        cells = []
        for ratio in ratios:
            found = (row_at(summary, label, ratio) or {}).get("where_downsample_fails")
            counts[ratio] = found["n"] if found else counts.get(ratio, 0)
            cells.append(with_interval(found["accuracy"]) if found and found["n"] else "–")
        if label not in ("full", "downsample", "blind"):
            lines.append([row_title(label), *cells])
    return markdown(["method", *(f"{reduction(ratio)} ({counts[ratio]} questions)" for ratio in ratios)], lines)


def not_won(summary: Summary) -> str:
    """Everywhere that AdaFV is not the best: methods ahead of it or level with it, and families where another leads."""
    lines = []
    for ratio in ratios_of(summary):
        tests = [test for test in summary["paired"] if test["keep"] == ratio]
        ahead = _ahead(summary, ratio)
        level = [test for test in tests if verdict_of(test) == "level"]
        texts = []
        if ahead:
            texts.append("it is behind " + _list([_points(test) for test in ahead]))
        if level:
            texts.append("it is statistically level with " + _list([_points(test) for test in level]))
        if leads := _leaders(summary, ratio):
            texts.append("other methods lead on " + _list(leads))
        lines.append(f"- {reduction(ratio)}: " + ("; ".join(texts) if texts else "it leads everywhere") + ".")
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
                f"{ours['mean_percent_of_full']['value'] or 0:.1f} ({row_title(ours['row'])})" if ours else "–",
            ]
        )
    header = ["reduction", "method", "GQA", "SQA-IMG", "TextVQA", "POPE", "MME", "MMB", "MM-Vet"]
    return markdown([*header, "average, % of full", "ours, mean over families, % of full"], lines)


def figures_in_words(summary: Summary) -> str:
    """Figures 2 to 4 in two sentences."""
    if not summary["figures"]:
        return "The data set names no objects, so there are no figures 2 to 4."
    auc, hit = summary["figures"]["auc"], summary["figures"]["hit"]
    return (
        f"AUC for “is this token on the object that the question names”: {auc['t2i']['mean']:.3f} for T2I attention, "
        f"{auc['saliency']['mean']:.3f} for saliency (mean over {auc['t2i']['n']:,} questions that name one). Tokens "
        f"to keep, of {hit['visual_tokens']:g}, until one is on it, mean (95th percentile): T2I {_needed(hit['t2i'])}, "
        f"saliency {_needed(hit['saliency'])}, AdaFV {_needed(hit['adafv'])}; by chance {hit['random']['mean']:.1f}."
    )


def _needed(found: dict[str, Any]) -> str:
    return f"{found['mean']:.1f} ({found['quantiles']['95']:g})"


def _points(test: dict[str, Any]) -> str:
    return f"{row_title(test['other'])} ({with_interval(test['difference'])} points)"


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
            found.append(f"{family} ({row_title(best['row'])} {theirs:.1f}, AdaFV {ours:.1f})")
    return found


def _list(texts: list[str]) -> str:
    return texts[0] if len(texts) == 1 else ", ".join(texts[:-1]) + " and " + texts[-1]
