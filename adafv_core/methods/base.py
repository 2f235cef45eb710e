"""The base class of pruning methods: options are fields, one function is overridden, the result is a Selection."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from adafv_core.checks import check_budget
from adafv_core.errors import BudgetError, ScoreError
from adafv_core.mixing import BELOW_ONE, top_k
from adafv_core.types import Selection, TokenScores, Why


@dataclass(frozen=True)
class Choice:
    """A method's decision; everything except `kept` is optional.

    kept: (N,) bool. ranking: (N,) ≥ 0, what the tokens were ranked by, which determines the mixed score
    (`over_threshold`); head: (N,) bool, the kept tokens that the ranking chose, if another rule kept some as well.
    mixed: (N,) ≥ 1 exactly where kept, for methods without one ranking (1 and 0 if both are None). why: (N,) values of
    `Why` (METHOD where kept, if None). features: replacements for the kept tokens, in the same order. budget: the
    nominal K if it differs from the requested one. report: additional values.
    """

    kept: Tensor
    mixed: Tensor | None = None
    why: Tensor | None = None
    k_text: int = 0
    k_visual: int = 0
    features: Tensor | None = None
    budget: int | None = None
    report: dict[str, Any] | None = None
    ranking: Tensor | None = None
    head: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Method(ABC):
    """A pruning method. Options are dataclass fields with defaults; a new method only overrides `choose`.

    name: the name for `get_method`. title: the name in words, as menus, tables and texts show it (`name`, if not
    given). keeps: one line, which tokens stay. source: the paper or code of the definition, "" if none. inside_llm:
    whether it prunes between LLM layers instead of before the LLM. exact: whether it always keeps exactly K distinct
    tokens. reads_t2i: whether it reads the T2I attention; if not, the engine skips scoring.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    keeps: ClassVar[str] = ""
    source: ClassVar[str] = ""
    inside_llm: ClassVar[bool] = False
    exact: ClassVar[bool] = True
    reads_t2i: ClassVar[bool] = True

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.title = cls.title or cls.name

    @abstractmethod
    def choose(self, scores: TokenScores, budget: int) -> Choice:
        """Decide which of the N visual tokens stay; `budget` has been checked to be within 1..N."""

    def select(self, scores: TokenScores, budget: int) -> Selection:
        """Keep `budget` of the N visual tokens.

        Raises BudgetError or ScoreError, and InputError if the method needs something these scores lack: a saved run
        has neither features nor text embeddings.
        """
        check_scored(scores)
        budget = check_budget(budget, scores.t2i.shape[0])
        made = self.selection(self.choose(scores, budget), budget)
        return replace(made, image_key=scores.visual.image_key, model_key=scores.visual.model_key)

    def layer_tokens(self, size: int, budget: int, depth: int) -> tuple[int, ...]:
        """How many visual tokens each layer of an LLM of `depth` layers sees of an image of N = `size`."""
        return (budget,) * depth

    def whole_layers(self, size: int, budget: int, depth: int) -> int:
        """How many of the first layers see the image as the model without pruning does, newline tokens included."""
        return depth if budget == size else 0

    def options(self) -> dict[str, Any]:
        """The options this method runs with, without masks that were not given."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def selection(self, choice: Choice, budget: int) -> Selection:
        """The Selection for a choice."""
        kept, ranking, threshold = choice.kept, None, None
        mixed = kept.float() if choice.mixed is None else choice.mixed.float()
        if choice.ranking is not None and choice.mixed is None:
            ranking = choice.ranking.float()
            threshold = threshold_of(ranking, kept if choice.head is None else choice.head)
            mixed = over_threshold(ranking, kept, threshold)
        return Selection(
            indices=kept.nonzero()[:, 0],
            kept=kept,
            mixed=mixed,
            why=kept_because(kept, Why.METHOD) if choice.why is None else choice.why,
            k_text=choice.k_text,
            k_visual=choice.k_visual,
            budget=budget if choice.budget is None else choice.budget,
            method=self.name,
            options=self.options(),
            features=choice.features,
            report=choice.report or {},
            ranking=ranking,
            threshold=threshold,
        )

    def path(self, scores: TokenScores, budgets: Sequence[int]) -> Iterator[Selection | BudgetError]:
        """The selection for each budget in turn, as from `select`; the BudgetError itself where `select` raises one."""
        for budget in budgets:
            try:
                yield self.select(scores, budget)
            except BudgetError as error:
                yield error


class NestedMethod(Method):
    """A method that picks tokens one after the other: its first K picks do not depend on how many follow.

    A new method only overrides `order`. One order of picks serves every budget, which is what a slider needs; override
    `choice` to report more about the picks.
    """

    @abstractmethod
    def order(self, scores: TokenScores, count: int) -> Tensor:
        """(count,) int64: the first `count` tokens in the order of picking, 1 ≤ count ≤ N."""

    def choice(self, scores: TokenScores, picks: Tensor) -> Choice:
        """The choice that keeps these picks, (K,) int64: the first K of an order."""
        return Choice(keep(picks, scores.size))

    def choose(self, scores: TokenScores, budget: int) -> Choice:
        return self.choice(scores, self.order(scores, budget))

    def path(self, scores: TokenScores, budgets: Sequence[int]) -> Iterator[Selection | BudgetError]:
        """Like `Method.path`, but from a single order of picks."""
        check_scored(scores)
        try:
            order = self.order(scores, check_budget(max(budgets), scores.size)) if self.nested_for(scores) else None
        except BudgetError:
            order = None
        if order is None:
            yield from super().path(scores, budgets)
            return
        for budget in budgets:
            try:
                made = self.selection(self.choice(scores, order[: check_budget(budget, scores.size)]), budget)
            except BudgetError as error:
                yield error
            else:
                yield replace(made, image_key=scores.visual.image_key, model_key=scores.visual.model_key)

    def nested_for(self, scores: TokenScores) -> bool:
        """Whether the picks are nested for this image; they are not if the budget is divided over several crops."""
        return not getattr(self, "per_crop", False) or len(scores.visual.grid.crops) == 1


def check_scored(scores: TokenScores) -> None:
    """Raise ScoreError unless these are TokenScores with a finite t2i and saliency for each visual token."""
    if not isinstance(scores, TokenScores):
        raise ScoreError(f"Expected TokenScores from `Engine.score`, got {type(scores).__name__}.")
    shape = scores.visual.saliency.shape
    for kind, values in (("t2i", scores.t2i), ("saliency", scores.saliency)):
        if values.shape != shape:
            raise ScoreError(
                f"{kind} must have shape {tuple(shape)}, one score per visual token; got {(*values.shape,)}."
            )
        if not bool(torch.isfinite(values).all()):
            raise ScoreError(f"{kind} must be finite; some of its values are NaN or infinite.")


def keep(indices: Tensor, size: int) -> Tensor:
    """(size,) bool, True at the indices."""
    kept = torch.zeros(size, dtype=torch.bool, device=indices.device)
    kept[indices] = True
    return kept


def kept_because(kept: Tensor, why: Why) -> Tensor:
    """(N,) int8: this reason for every kept token, DROPPED for the others."""
    return kept.to(torch.int8) * int(why)


def threshold_of(ranking: Tensor, head: Tensor) -> Tensor:
    """() float32: the lowest value of (N,) `ranking` among the tokens it chose, which `head` (N,) bool marks."""
    return ranking.masked_fill(~head, torch.inf).amin()


def over_threshold(ranking: Tensor, kept: Tensor, threshold: Tensor) -> Tensor:
    """(N,) float32: a ranking ≥ 0 divided by the lowest accepted value, clamped to ≥ 1 where kept and < 1 elsewhere."""
    ratio = torch.where(threshold > 0, ranking / threshold, kept.float()).clamp(max=torch.finfo(torch.float32).max)
    return torch.where(kept, ratio.clamp(min=1.0), ratio.clamp(max=BELOW_ONE))


def best_choice(ranking: Tensor, budget: int) -> Choice:
    """The choice that keeps the `budget` largest of (N,) values ≥ 0, ties by lower index."""
    return Choice(keep(top_k(ranking, budget), ranking.shape[0]), ranking=ranking)


def best_of(ranking: Tensor, budget: int) -> tuple[Tensor, Tensor]:
    """The mask of the `budget` largest of (N,) values (ties by lower index), and their scaled mixed score."""
    kept = keep(top_k(ranking, budget), ranking.shape[0])
    ranking = ranking.float()
    return kept, over_threshold(ranking, kept, threshold_of(ranking, kept))


def question_tokens(scores: TokenScores, text_tokens: str, needed_by: str) -> Tensor:
    """(T', D) float32 embeddings of the words that count: "question", or "all" text tokens of the prompt.

    Raises InputError if the scores have no embeddings, as those of a saved run.
    """
    words = scores.embeddings(needed_by)[0].float()
    return words if text_tokens == "all" else words[scores.counted.to(words.device)]
