"""What a caller asks of an engine: how tokens are selected and how many may be generated, as one checked value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from adafv_core.checks import budget_from_keep_ratio, check_budget, check_choice, check_keep_ratio, real, whole
from adafv_core.cost import LLMShape
from adafv_core.engine.equal_flops import solved_budgets
from adafv_core.errors import BudgetError, InputError
from adafv_core.methods import METHODS, Method, get_method
from adafv_core.types import NEWLINES, POSITIONS, SHARES, Selection, TokenScores, VisualTokens

DEFAULT_KEEP_RATIO = 0.1


@dataclass(frozen=True, eq=False)
class Request:
    """How visual tokens are selected and how an answer is generated; plain values that can be pickled.

    method, options: a name from `METHODS` and the options of that method. keep_ratio: the fraction of visual tokens
    kept, above 0 and at most 1; or budget: their number, 1..N; or flops_ratio: the most that the prefill may cost, as
    a share of the unpruned prompt's prefill FLOPs, for which each prompt's largest budget is solved (`equal_flops`); a
    tenth of the tokens where none is given. share: "image", the
    budget of each image of a prompt, or "all", one budget for all of them together. max_new_tokens: the longest answer.
    selection: one made earlier, used instead of selecting anew; a tuple or list of them, one per image, where a prompt
    has several. newline: "drop" or "rows", which newline tokens of an any-resolution model stay. positions:
    "contiguous" or "original" position ids of kept tokens; None for those the selection was made with, contiguous
    otherwise. chooser, selections: the method with its options, and the selections as a tuple, made here.

    Checked when it is made. Raises BudgetError for more than one of keep_ratio, budget and flops_ratio or one out of
    range, UnknownNameError for a method, option, newline, positions or share that does not exist, InputError for
    anything else.
    """

    method: str = "adafv"
    options: Mapping[str, Any] = field(default_factory=dict)
    keep_ratio: float | None = None
    budget: int | None = None
    max_new_tokens: int = 64
    selection: Selection | Sequence[Selection] | None = None
    newline: str = "drop"
    positions: str | None = None
    share: str = "image"
    flops_ratio: float | None = None
    chooser: Method = field(init=False, repr=False)
    selections: tuple[Selection, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", dict(self.options))
        whole("max_new_tokens", self.max_new_tokens, 1)
        check_choice("newline", self.newline, NEWLINES)
        check_choice("positions", self.positions or "contiguous", POSITIONS)
        check_choice("share", self.share, SHARES)
        object.__setattr__(self, "selections", check_selection(self.selection))
        ways = {"keep_ratio": self.keep_ratio, "budget": self.budget, "flops_ratio": self.flops_ratio}
        given = {name: value for name, value in ways.items() if value is not None}
        if len(given) > 1:
            came = " and ".join(f"{name}={value!r}" for name, value in given.items())
            raise BudgetError(f"Give one of {', '.join(ways)}, not several; got {came}.")
        if self.budget is not None:
            whole("The budget of visual tokens", self.budget, 1, error=BudgetError)
        if self.keep_ratio is not None:
            check_keep_ratio(self.keep_ratio)
        if self.flops_ratio is not None:
            real("flops_ratio, the share of the full prefill's FLOPs,", self.flops_ratio, 0, 1, True, BudgetError)
        object.__setattr__(self, "chooser", get_method(self.method, **self.options))

    def budget_of(self, size: int) -> int:
        """K for an image of N = `size` visual tokens.

        Raises BudgetError if the budget is above N, and InputError for flops_ratio, which needs the whole prompt.
        """
        if self.flops_ratio is not None:
            raise InputError(
                "flops_ratio depends on the length of the prompt: select with an engine, or give a budget."
            )
        if self.budget is not None:
            return check_budget(self.budget, size)
        return budget_from_keep_ratio(DEFAULT_KEEP_RATIO if self.keep_ratio is None else self.keep_ratio, size)

    def budgets(self, visuals: Sequence[VisualTokens], n_text: int, llm: LLMShape) -> tuple[int, ...]:
        """K for each image of a prompt with `n_text` text tokens; with share="all" a single one for all of them.

        llm: the model's integers. Raises BudgetError for a budget above N or a flops_ratio that no budget reaches.
        """
        if self.flops_ratio is not None:
            return solved_budgets(
                self.flops_ratio, self.chooser, visuals, n_text, llm, newline=self.newline, share=self.share
            )
        return self.budgets_by_size([visual.size for visual in visuals])

    def budgets_by_size(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """`budget_of` for the images of a prompt, of N = `sizes` tokens; with share="all" for all of them together."""
        return tuple(self.budget_of(size) for size in ([sum(sizes)] if self.share == "all" else sizes))

    def select(self, scores: TokenScores, budget: int | None = None) -> Selection:
        """Select for one image, before the LLM. budget: K; by default that of `budget_of`.

        Raises BudgetError or ScoreError; InputError for a method inside the LLM.
        """
        made = self.chooser.select(scores, self.budget_of(scores.size) if budget is None else budget)
        return made if self.positions is None else replace(made, positions=self.positions)


_FIELDS = frozenset(one.name for one in fields(Request) if one.init)


def request_of(
    request: Request | float | None = None,
    method: str | None = None,
    max_new_tokens: int | None = None,
    /,
    **given: Any,
) -> Request:
    """A Request from the arguments of a call: the Request itself, or a keep ratio and the fields by keyword.

    given: fields of `Request`, and options of the method by their own names. Raises what `Request` raises, and
    InputError for a Request together with further fields.
    """
    in_order = {"method": method, "max_new_tokens": max_new_tokens}
    given = {**{name: value for name, value in in_order.items() if value is not None}, **given}
    if isinstance(request, Request):
        if given:
            raise InputError(f"Pass a Request or its fields by keyword, not both; got {', '.join(given)} beside it.")
        return request
    if request is not None:
        given["keep_ratio"] = request
    options = {name: value for name, value in given.items() if name not in _FIELDS}
    named = {name: value for name, value in given.items() if name in _FIELDS}
    return Request(**{**named, "options": {**named.get("options", {}), **options}})


def acting_method(request: Request, selections: Sequence[Sequence[Selection]]) -> Method | None:
    """The method that prunes a batch inside the LLM, or None if all of it is pruned before.

    selections: per question, those made earlier or none to select by the request. Raises InputError for a mixture.
    """
    acting = [method for made in selections for method in (map(_method_inside, made) if made else [request.chooser])]
    inside = [one for one in acting if one is not None and one.inside_llm]
    if not inside:
        return None
    if len(inside) < len(acting) or any(one.options() != inside[0].options() for one in inside):
        raise InputError(
            "All questions of a batch must be pruned in the same way; ask those with selections made inside the LLM "
            "apart from the others."
        )
    return inside[0]


def _method_inside(selection: Selection) -> Method | None:
    """The method that made a selection between LLM layers, where it has to act again; else None."""
    if selection.method not in METHODS or not METHODS[selection.method].inside_llm:
        return None
    return get_method(selection.method, **selection.options)


def check_selection(selection: object) -> tuple[Selection, ...]:
    """The selections of one prompt: one per image, or none to select anew.

    Raises InputError unless it is a Selection, a tuple or list of at least one, or None.
    """
    given = selection if isinstance(selection, tuple | list) and selection else (selection,)
    if selection is None:
        return ()
    for one in given:
        if not isinstance(one, Selection):
            came = type(one).__name__
            raise InputError(f"A selection must be what `select` returns, or None to select anew; got {came}.")
    return tuple(given)


def check_fits(selection: Selection, visual: VisualTokens) -> None:
    """Raises InputError unless a selection was made on these visual tokens.

    Size, image and model are compared. A selection that does not carry image and model (from a saved run of version
    0.1) fits only visual tokens that do not either.
    """
    size = selection.kept.shape[0]
    if size != visual.size:
        raise InputError(
            f"The selection is over {size} tokens, the image has {visual.size}; select anew for this image."
        )
    for what, made_on, given in (
        ("image", selection.image_key, visual.image_key),
        ("model", selection.model_key, visual.model_key),
    ):
        if given and not made_on:
            raise InputError(f"The selection does not hold which {what} it was made on; select anew for this one.")
        if made_on and given and made_on != given:
            raise InputError(f"The selection was made on another {what}; select anew for this one.")


def check_selections(selections: object, count: int) -> list[tuple[Selection, ...]]:
    """The selections of each question. Raises InputError for another number or kind."""
    if selections is None:
        return [()] * count
    if isinstance(selections, Selection | str) or not isinstance(selections, Iterable):
        raise InputError(f"selections must be a list, one selection a question; got {type(selections).__name__}.")
    given = [check_selection(one) for one in selections]
    if len(given) != count:
        raise InputError(f"Expected one selection a question ({count}), got {len(given)}.")
    return given
