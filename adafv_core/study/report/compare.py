"""Compare two results files: `adafv study compare A B`, also `python -m adafv_core.study compare A B`.

Rows and ratios that both files have are compared on the questions that both answered, each with itself: B minus A, with
an interval from a bootstrap over pictures and p-values corrected by Holm over all comparisons.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adafv_core.errors import AdaFVError, InputError
from adafv_core.study.measure.intervals import draw_weights, holm, paired
from adafv_core.study.report.summary import comparison, verdict
from adafv_core.study.report.tables import p_text, with_interval
from adafv_core.study.run.configs import row_title
from adafv_core.study.run.results_file import Key, Records, read_records

_FACTS = ("question", "answers", "key", "image")


@dataclass(frozen=True)
class Comparison:
    """One row at one ratio in two files.

    n: questions that both answered. first, second: accuracy in A and in B, percent. values: of the paired test, B
    minus A, in points, with `p_holm` and `verdict` of B.
    """

    row: str
    keep: float | None
    n: int
    first: float
    second: float
    values: dict[str, Any]


def compare(first: Records, second: Records) -> list[Comparison]:
    """Compare what two files share. Raises InputError where they share no question, or no row at any ratio."""
    pairs = _shared_questions(first, second)
    if not pairs:
        raise InputError("The two files share no question, so nothing can be compared.")
    ours, theirs = first.current_answers(), second.current_answers()
    found: list[Comparison] = []
    for key in ours:
        both = [(a, b) for a, b in pairs if a in ours[key] and b in theirs.get(key, {})]
        if both:
            found.append(_compared(key, both, first, second))
    if not found:
        raise InputError("The two files have no row at a ratio in common; compare studies of the same methods.")
    adjusted = holm([one.values["p_bootstrap"] for one in found])
    for one, p_holm in zip(found, adjusted, strict=True):
        one.values["p_holm"] = float(f"{p_holm:.3g}")
        one.values["verdict"] = verdict(one.values["difference"]["value"], p_holm)
    return found


def _compared(key: Key, both: Sequence[tuple[int, int]], first: Records, second: Records) -> Comparison:
    scores = [
        np.array([records.answers[key][pair[side]].score for pair in both], dtype=np.float64)
        for side, records in enumerate((first, second))
    ]
    images = [first.questions[a]["image"] for a, _ in both]
    index = {image: place for place, image in enumerate(dict.fromkeys(images))}
    picture = np.array([index[image] for image in images], dtype=np.int64)
    test = paired(scores[1], scores[0], picture, draw_weights(len(index)))
    means = [round(100 * float(one.mean()), 3) for one in scores]
    return Comparison(key[0], key[1], len(both), means[0], means[1], comparison(test))


def _shared_questions(first: Records, second: Records) -> list[tuple[int, int]]:
    """Numbers (in A, in B) of the questions that are the same: by id, or by their facts where 0.1 wrote one of them."""
    by_id: dict[str, int] = {}
    by_facts: dict[str, int] = {}
    for q, line in second.questions.items():
        if q not in second.dropped:
            by_facts[_facts(line)] = q
            if "id" in line:
                by_id[line["id"]] = q
    found = []
    for q, line in first.questions.items():
        other = by_id.get(line.get("id", ""), by_facts.get(_facts(line)))
        if q not in first.dropped and other is not None:
            found.append((q, other))
    return found


def _facts(line: dict[str, Any]) -> str:
    return json.dumps([line.get(name) for name in _FACTS])


def table_of(found: Sequence[Comparison]) -> str:
    """One line per row and ratio, for the terminal."""
    width = max(len("row"), *(len(row_title(one.row)) for one in found))
    lines = [f"{'row':<{width}}   keep      n      A      B  B − A, points (95 %)       p (Holm)  B is"]
    for one in found:
        keep = "any" if one.keep is None else f"{one.keep:g}"
        difference = with_interval(one.values["difference"], 2)
        numbers = f"{keep:>6} {one.n:>6,} {one.first:>6.1f} {one.second:>6.1f}"
        p = p_text(one.values["p_holm"])
        lines.append(f"{row_title(one.row):<{width}} {numbers}  {difference:<25} {p:>8}  {one.values['verdict']}")
    return "\n".join(lines)


def main(arguments: Sequence[str], prog: str = "python -m adafv_core.study compare") -> int:
    """The command line. 0, or 2 on wrong input."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("first", type=Path, metavar="A", help="a results file (.jsonl or .jsonl.gz)")
    parser.add_argument("second", type=Path, metavar="B", help="the results file to hold against it")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(arguments)
    try:
        files = [_read(file) for file in (options.first, options.second)]
        found = compare(*files)
    except AdaFVError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        rows = [{"row": one.row, "keep": one.keep, "n": one.n, "a": one.first, "b": one.second} for one in found]
        print(json.dumps([row | one.values for row, one in zip(rows, found, strict=True)], ensure_ascii=False))
    else:
        print(table_of(found))
    return 0


def _read(file: Path) -> Records:
    try:
        return read_records(file)
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}).") from None
