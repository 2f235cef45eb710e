"""The rows of a study: a method with its options, or one of the two bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from adafv_core.errors import InputError, UnknownNameError
from adafv_core.methods import METHODS, get_method

FULL, ORACLE, BLIND = "full", "oracle", "blind"
BOUNDS = (ORACLE, BLIND)


@dataclass(frozen=True)
class Row:
    """One row of the table.

    method: a name of METHODS, "oracle" or "blind" (see `bounds`). options: of the method. fixed: whether the row is
    the same whatever the keep ratio (`full` keeps everything, `blind` the fewest possible) and so is asked once.
    """

    method: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The row's name in files and tables: "adafv", "adafv floor=0.25"."""
        return " ".join([self.method, *(f"{name}={value}" for name, value in self.options.items())])

    @property
    def fixed(self) -> bool:
        return self.method in (FULL, BLIND)


ABLATION = (
    Row("adafv"),
    Row("adafv", {"floor": 0.25}),
    Row("adafv", {"temperature": 10.0}),
    Row("adafv", {"temperature": 30.0}),
    Row("adafv", {"temperature": 300.0}),
    Row("adafv", {"text_tokens": "all"}),
    Row("adafv", {"positions": "original"}),
    Row("fixed_mix"),
)
"""AdaFV with its defaults (floor 0, temperature 100, question, contiguous), then with one of them changed at a time."""


def parse_row(text: str) -> Row:
    """A row from "adafv" or "adafv:floor=0.25,temperature=30". Raises UnknownNameError or InputError."""
    name, _, given = text.strip().partition(":")
    if name in BOUNDS:
        if given:
            raise InputError(f"{name} has no options; got {given!r}.")
        return Row(name)
    if name not in METHODS:
        raise UnknownNameError(
            f"There is no method {name!r}; expected all, ablation, {', '.join(METHODS)}, {' or '.join(BOUNDS)}."
        )
    types = {one.name: str(one.type) for one in fields(METHODS[name])}
    options: dict[str, Any] = {}
    for pair in filter(None, given.split(",")):
        option, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"Expected option=value after {name}:, as in adafv:floor=0.25; got {pair!r}.")
        options[option] = _value(value, types.get(option, "str"))
    get_method(name, **options)
    return Row(name, options)


def parse_rows(texts: Sequence[str]) -> tuple[Row, ...]:
    """Rows in order, each once. "all" stands for every method and both bounds, "ablation" for ABLATION."""
    rows: list[Row] = []
    for text in texts:
        if text == "all":
            rows += [Row(name) for name in (*METHODS, *BOUNDS)]
        elif text == "ablation":
            rows += ABLATION
        else:
            rows.append(parse_row(text))
    if not rows:
        raise InputError("Expected at least one method, or all.")
    return tuple({row.label: row for row in rows}.values())


def check_keep_ratios(ratios: Sequence[float]) -> tuple[float, ...]:
    """Keep ratios, largest first, each once. Raises InputError unless all are above 0 and at most 1."""
    wrong = [ratio for ratio in ratios if not 0 < ratio <= 1]
    if wrong or not ratios:
        came = ", ".join(map(str, wrong)) or "none"
        raise InputError(f"Keep ratios are fractions above 0 and at most 1, such as 0.1; got {came}.")
    return tuple(sorted(set(ratios), reverse=True))


def jobs(rows: Sequence[Row], ratios: Sequence[float]) -> list[tuple[Row, float | None]]:
    """What has to be asked: (row, keep ratio), with None as the ratio of `blind`.

    At a keep ratio of 1 nothing is pruned and every method is `full`, which is asked once. `full` is always asked,
    since all else is stated as a share of it.
    """
    found: list[tuple[Row, float | None]] = [(Row(FULL), 1.0)]
    for row in rows:
        if row.method == BLIND:
            found.append((row, None))
        elif row.method != FULL:
            found += [(row, ratio) for ratio in ratios if ratio < 1]
    return found


def _value(text: str, kind: str) -> Any:
    if kind == "bool":
        return text.lower() in ("true", "1", "yes")
    if kind not in ("int", "float"):
        return text
    try:
        return int(text) if kind == "int" else float(text)
    except ValueError:
        raise InputError(f"Expected a number; got {text!r}.") from None
