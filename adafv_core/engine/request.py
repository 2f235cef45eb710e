"""What a call wishes for, checked before a model runs: how tokens are chosen, and how many may be written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from adafv_core.engine.batch import NEWLINES, POSITIONS
from adafv_core.engine.score import resolve_budget
from adafv_core.errors import InputError, UnknownNameError
from adafv_core.methods import METHODS, Method, get_method
from adafv_core.types import Selection, VisualTokens


@dataclass(frozen=True)
class Wish:
    """How tokens are to be chosen, the same for every question of a call."""

    method: Method
    keep_ratio: float | None
    budget: int | None
    newline: str
    positions: str | None

    def budget_of(self, visual: VisualTokens) -> int:
        """K for one image."""
        return resolve_budget(visual.size, self.keep_ratio, self.budget)


def wish_of(
    selection: Selection | None,
    method: str,
    options: dict[str, Any],
    keep_ratio: float | None,
    budget: int | None,
    newline: str,
    positions: str | None,
) -> Wish:
    """With a selection made before, only where it acts still matters: before the LLM or inside it.

    Raises InputError for a selection that is none, UnknownNameError for a name that does not exist.
    """
    check_layout(newline, positions)
    chooser = get_method(method, **options)
    made = check_selection(selection)
    if made is not None:
        made_inside = made.method in METHODS and METHODS[made.method].inside_llm
        chooser = get_method(made.method, **made.options) if made_inside else get_method("full")
    return Wish(chooser, keep_ratio, budget, newline, positions)


def check_layout(newline: str, positions: str | None) -> None:
    """Raises UnknownNameError for a way with newline tokens or position ids that does not exist."""
    for name, value, choices in (("newline", newline, NEWLINES), ("positions", positions or "contiguous", POSITIONS)):
        if value not in choices:
            raise UnknownNameError(f"{name} must be one of {', '.join(choices)}; got {value!r}.")


def check_selection(selection: object) -> Selection | None:
    """The selection itself. Raises InputError unless it is one, or None."""
    if selection is not None and not isinstance(selection, Selection):
        came = type(selection).__name__
        raise InputError(f"A selection must be what `select` returns, or None to select anew; got {came}.")
    return selection


def check_selections(selections: Iterable[Selection | None] | None, count: int) -> Sequence[Selection | None]:
    """One selection or None for each of `count` questions. Raises InputError for another number or kind."""
    if selections is None:
        return [None] * count
    if isinstance(selections, Selection | str) or not isinstance(selections, Iterable):
        raise InputError(f"selections must be a list, one selection a question; got {type(selections).__name__}.")
    given = [check_selection(one) for one in selections]
    if len(given) != count:
        raise InputError(f"Expected one selection a question ({count}), got {len(given)}.")
    return given


def check_count(name: str, value: int) -> None:
    """Raises InputError unless the value is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name} must be a whole number of at least 1; got {value!r}.")
