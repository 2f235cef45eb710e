"""Computes every number in the tables and figures of a study from its results file."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from adafv_core.errors import InputError
from adafv_core.study.data.base import Omission
from adafv_core.study.measure.accuracy import normalize
from adafv_core.study.measure.bounds import BOUNDS
from adafv_core.study.measure.fidelity import calibration_error
from adafv_core.study.measure.intervals import (
    LEVEL,
    Array,
    Interval,
    Paired,
    by_picture,
    draw_weights,
    holm,
    interval,
    paired,
    ratio_interval,
)
from adafv_core.study.report.figure_data import figure_data
from adafv_core.study.run.configs import FULL, flops_label, share_of_flops
from adafv_core.study.run.results_file import Key, Records

FIRST, RANDOM = "adafv", "random"
"""The row that all others are tested against, and the one that is run several times."""

DOWNSAMPLE = "downsample"
"""The row that gets a smaller image instead of fewer tokens of the whole one."""

ORDER = ("attribute", "existence", "location", "reading", "counting", "relation", "salient")


class Table:
    """Scores of a study as arrays over the questions that every row answered.

    numbers: those questions. picture: (questions,) int64, the index of each one's picture. scores: row and ratio →
    (questions,) float64.
    """

    def __init__(self, records: Records) -> None:
        self.records = records
        answers = {key: given for key, given in records.current_answers().items() if key not in _left_out(records)}
        if (FULL, 1.0) not in answers:
            raise InputError("The study has no answers with all tokens yet; let it run longer before summarizing it.")
        shared = set.intersection(*(set(given) for given in answers.values()))
        self.numbers = sorted(shared)
        if not self.numbers:
            raise InputError("No question has been answered for every row yet; let the study run longer first.")
        images = [records.questions[q]["image"] for q in self.numbers]
        index = {image: place for place, image in enumerate(dict.fromkeys(images))}
        self.picture = np.array([index[image] for image in images], dtype=np.int64)
        self.pictures = len(index)
        self.scores: dict[Key, Array] = {
            key: np.array([given[q].score for q in self.numbers]) for key, given in answers.items()
        }
        self.weights = draw_weights(self.pictures)
        self.families = {name: self._having("family", name) for name in self._names("family")}
        self.groups = {name: self._having("group", name) for name in self._names("group")}

    def _names(self, field: str) -> list[str]:
        names = {self.records.questions[q].get(field, "") for q in self.numbers} - {""}
        return sorted(names, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))

    def _having(self, field: str, name: str) -> Array:
        return np.array([float(self.records.questions[q].get(field, "") == name) for q in self.numbers])

    def accuracy(self, key: Key, among: Array | None = None) -> dict[str, Any]:
        """Accuracy and percent of full for one row, with intervals; over all questions, or those where `among` is 1."""
        chosen = np.ones(len(self.numbers)) if among is None else among
        right, right_full, count = (
            by_picture(values * chosen, self.picture, self.pictures)
            for values in (self.scores[key], self.scores[FULL, 1.0], np.ones(len(self.numbers)))
        )
        return {
            "n": int(chosen.sum()),
            "accuracy": _plain(ratio_interval(right, count, self.weights, 100.0)),
            "percent_of_full": _plain(ratio_interval(right, right_full, self.weights, 100.0)),
        }

    def mean(self, values: Sequence[float | None]) -> dict[str, Any] | None:
        """The mean over the n questions that have a value, with its interval; None if none has."""
        known = np.array([0.0 if value is None else 1.0 for value in values])
        if not known.any():
            return None
        top, count = (
            by_picture(one, self.picture, self.pictures)
            for one in (np.array([value or 0.0 for value in values], dtype=np.float64), known)
        )
        return {"n": int(known.sum()), **_plain(ratio_interval(top, count, self.weights))}

    def mean_percent(self, key: Key) -> dict[str, Any]:
        """The mean of the families' percent of full: the paper's average over benchmarks."""
        values, samples = [], []
        for chosen in self.families.values():
            right = by_picture(self.scores[key] * chosen, self.picture, self.pictures)
            full = by_picture(self.scores[FULL, 1.0] * chosen, self.picture, self.pictures)
            with np.errstate(divide="ignore", invalid="ignore"):
                values.append(100 * right.sum() / full.sum() if full.sum() else math.nan)
                samples.append(100 * (self.weights @ right) / (self.weights @ full))
        return _plain(interval(float(np.mean(values)), np.mean(samples, axis=0)))


def summarize(records: Records) -> dict[str, Any]:
    """All results of a study, as plain values for a JSON file.

    rows: one entry per row and ratio; per row accuracy, percent_of_full, loyalty (questions answered as `full`
    does, %), flips (questions that only `full` answers right: lost; only this row: gained), delta_nll (nats a
    question), kl (nats), ece (%), flops (of the prefill), and `where_downsample_fails`; what was not measured is
    None. paired: AdaFV against each other row at the same ratio, or share of FLOPs (keep None). holm: what they are
    corrected for. seeds: the runs of `random`. left_out: rows that cannot serve a budget. omitted: what could not
    be used or answered. figures: data of figures 1 to 4. What 0.1 answered has no likelihoods: `n` beside a mean
    says how many questions have one. Raises InputError if the records do not hold enough yet.
    """
    table = Table(records) if records.answers else None
    if table is None and not records.measures:
        raise InputError("The study has neither answers nor measurements yet; let it run longer before summarizing it.")
    tests = _tests(table) if table else []
    return {
        "data": records.data or records.header["data"],
        "model": records.header["model"],
        "asking": records.header["asking"],
        "versions": records.header["versions"],
        "machines": records.machines,
        "questions": len(table.numbers) if table else 0,
        "pictures": table.pictures if table else 0,
        "answers": sum(len(given) for given in records.current_answers().values()),
        "answers_per_s": round(records.n_timed / records.seconds, 1) if records.seconds else None,
        "seconds": round(records.seconds, 1),
        "families": list(table.families) if table else [],
        "groups": list(table.groups) if table else [],
        "rows": [_row(table, key) for key in table.scores] if table else [],
        "paired": tests,
        "holm": _holm(tests),
        "seeds": _seeds(table) if table else [],
        "left_out": [{"row": row, "keep": keep, "why": why} for (row, keep), why in _left_out(records).items()],
        "omitted": [asdict(omission) for omission in _omitted(records)],
        "figures": figure_data(records),
    }


def _left_out(records: Records) -> dict[Key, str]:
    """Rows that answer less than half of their questions at a ratio, each with its most frequent reason.

    A row with fewer failures stays in the table; all rows are then compared on the questions that every row answers.
    """
    found = dict(records.left_out)
    answers = records.current_answers()
    for key, reasons in records.unanswered.items():
        current = [why for q, why in reasons.items() if q not in records.dropped]
        if current and len(current) > len(answers.get(key, {})):
            found[key] = max(sorted(set(current)), key=current.count)
    return found


def _omitted(records: Records) -> list[Omission]:
    """Everything the last session could not use, damaged lines, and questions that a row could not answer."""
    left_out = _left_out(records)
    found = [*records.omitted, *records.damaged]
    for (row, keep), reasons in records.unanswered.items():
        if (row, keep) not in left_out:
            found += [
                Omission(f"question {records.questions[q]['key']}, {row}{'' if keep is None else f' at {keep:g}'}", why)
                for q, why in reasons.items()
                if q not in records.dropped
            ]
    return found


def _row(table: Table, key: Key) -> dict[str, Any]:
    given = [table.records.answers[key][q] for q in table.numbers]
    kept = np.array([one.kept for one in given], dtype=np.float64)
    row: dict[str, Any] = {"row": key[0], "keep": key[1], "kept": round(float(kept.mean()), 2)}
    row |= table.accuracy(key)
    row["mean_percent_of_full"] = table.mean_percent(key)
    if any(one.k_text or one.k_visual for one in given):
        row["text_share"] = round(float(np.mean([one.k_text / one.kept for one in given])), 4)
        row["visual_share"] = round(float(np.mean([one.k_visual / one.kept for one in given])), 4)
    row |= _against_full(table, key)
    row["families"] = {name: table.accuracy(key, chosen) for name, chosen in table.families.items()}
    row["groups"] = {name: table.accuracy(key, chosen) for name, chosen in table.groups.items()}
    return row


def _against_full(table: Table, key: Key) -> dict[str, Any]:
    """How a row's answers depart from those of `full`, and what they cost."""
    own, full = ([table.records.answers[one][q] for q in table.numbers] for one in (key, (FULL, 1.0)))
    same = [normalize(one.text) == normalize(other.text) for one, other in zip(own, full, strict=True)]
    right, right_full = (table.scores[one] >= 0.5 for one in (key, (FULL, 1.0)))
    found: dict[str, Any] = {
        "loyalty": table.mean([100.0 * one for one in same]),
        "flips": {"lost": int((right_full & ~right).sum()), "gained": int((right & ~right_full).sum())},
    }
    gaps = [
        None if one.nll is None or other.nll is None else one.nll - other.nll
        for one, other in zip(own, full, strict=True)
    ]
    found["delta_nll"], found["kl"] = table.mean(gaps), table.mean([one.kl for one in own])
    sure = [(one.p, score) for one, score in zip(own, table.scores[key], strict=True) if one.p is not None]
    found["ece"] = round(calibration_error(*np.array(sure).T), 2) if sure else None
    both = [one.flops if other.flops else None for one, other in zip(own, full, strict=True)]
    found["flops"] = table.mean(both)
    of_full = table.mean([other.flops if one.flops else None for one, other in zip(own, full, strict=True)])
    if found["flops"] and of_full:
        found["flops"]["percent_of_full"] = round(100 * found["flops"]["value"] / of_full["value"], 2)
    smaller = table.scores.get((DOWNSAMPLE, key[1]))
    found["where_downsample_fails"] = None if smaller is None else table.accuracy(key, (smaller < 0.5).astype(float))
    return found


def _tests(table: Table) -> list[dict[str, Any]]:
    found = []
    for (row, keep), scores in table.scores.items():
        share = share_of_flops(row)
        own = FIRST if share is None else flops_label(FIRST, share)
        first = table.scores.get((own, keep))
        if first is None or row == own or row in BOUNDS or is_seed(row):
            continue
        found.append({"first": FIRST, "other": row, "keep": keep, **comparison(paired_of(table, first, scores))})
    for test, p_holm in zip(found, holm([test["p_bootstrap"] for test in found]), strict=True):
        test |= {"p_holm": float(f"{p_holm:.3g}"), "verdict": verdict(test["difference"]["value"], p_holm)}
    return found


def paired_of(table: Table, first: Array, other: Array) -> Paired:
    """Two rows of one table, paired by question and resampled by picture."""
    return paired(first, other, table.picture, table.weights)


def comparison(test: Paired) -> dict[str, Any]:
    """A paired test as plain values; differences in points of accuracy."""
    values = asdict(test)
    values["difference"] = _plain(Interval(*(100 * one for one in asdict(test.difference).values())))
    values["detectable"] = round(100 * test.detectable, 3)
    for name in ("p_bootstrap", "p_mcnemar"):
        values[name] = float(f"{values[name]:.3g}")
    return values


def verdict(difference: float, p: float) -> str:
    """Of the first of two rows: "ahead", "behind", or "level" where the corrected p is not below 0.05."""
    return "level" if p >= 1 - LEVEL else "ahead" if difference > 0 else "behind"


def _holm(tests: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the paired tests are corrected for, and how small a difference they can find."""
    if not tests:
        return {}
    return {
        "tests": len(tests),
        "level": round(1 - LEVEL, 4),
        "detectable": [min(test["detectable"] for test in tests), max(test["detectable"] for test in tests)],
        "n_for_a_point": [min(test["n_for_a_point"] for test in tests), max(test["n_for_a_point"] for test in tests)],
    }


def is_seed(label: str) -> bool:
    """Whether a row is one more run of `random`, which stands for itself in no table."""
    return label.startswith(f"{RANDOM} seed=")


def _seeds(table: Table) -> list[dict[str, Any]]:
    """Per ratio, the accuracies in percent of all runs of `random`, where there are several."""
    found = []
    for keep in dict.fromkeys(ratio for row, ratio in table.scores if row == RANDOM):
        runs = [scores for (row, ratio), scores in table.scores.items() if ratio == keep and _is_random(row)]
        values = [round(100 * float(one.mean()), 3) for one in runs]
        if len(values) > 1:
            spread = {"mean": round(statistics.mean(values), 3), "sd": round(statistics.stdev(values), 3)}
            found.append({"keep": keep, "runs": len(values), **spread, "accuracies": values})
    return found


def _is_random(label: str) -> bool:
    return label == RANDOM or is_seed(label)


def _plain(found: Interval) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else round(value, 3) for name, value in asdict(found).items()}
