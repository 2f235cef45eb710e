"""What every pruning method shares: options as fields, one function to override, a Selection at the end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from adafv_core.checks import check_budget
from adafv_core.errors import ScoreError
from adafv_core.mixing import BELOW_ONE, top_k
from adafv_core.types import Selection, TokenScores, Why


@dataclass(frozen=True)
class Choice:
    """What a method decides; everything but `kept` may be left out.

    kept: (N,) bool. mixed: (N,) ≥ 1 exactly where kept (1 and 0, if None). why: (N,) values of `Why`
    (METHOD where kept, if None). features: replacements for the kept tokens, in their order. budget: the
    nominal K where it is not the one asked for. report: further counts.
    """

    kept: Tensor
    mixed: Tensor | None = None
    why: Tensor | None = None
    k_text: int = 0
    k_visual: int = 0
    features: Tensor | None = None
    budget: int | None = None
    report: dict[str, Any] | None = None


@dataclass(frozen=True, eq=False)
class Method(ABC):
    """A pruning method. Options are dataclass fields with defaults; `choose` is all a new one overrides.

    name: how `get_method` finds it. inside_llm: it chooses between LLM layers, not before the LLM. exact:
    it keeps exactly K distinct tokens whatever K is. reads_t2i: it reads the T2I attention; the engine does not score
    for a method that does not.
    """

    name: ClassVar[str] = ""
    inside_llm: ClassVar[bool] = False
    exact: ClassVar[bool] = True
    reads_t2i: ClassVar[bool] = True

    @abstractmethod
    def choose(self, scores: TokenScores, budget: int) -> Choice:
        """Decide which of N visual tokens stay; the budget is already known to be within 1..N."""

    def select(self, scores: TokenScores, budget: int) -> Selection:
        """Keep `budget` of the N visual tokens.

        Raises BudgetError or ScoreError, and InputError where the method needs what these scores do not hold: a saved
        run has neither features nor text embeddings.
        """
        check_scored(scores)
        budget = check_budget(budget, scores.t2i.shape[0])
        made = self.selection(self.choose(scores, budget), budget)
        return replace(made, image_key=scores.visual.image_key, model_key=scores.visual.model_key)

    def options(self) -> dict[str, Any]:
        """The options this method runs with; masks that were not given are left out."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def selection(self, choice: Choice, budget: int) -> Selection:
        """A Selection from a choice."""
        kept = choice.kept
        return Selection(
            indices=kept.nonzero()[:, 0],
            kept=kept,
            mixed=kept.float() if choice.mixed is None else choice.mixed.float(),
            why=kept_because(kept, Why.METHOD) if choice.why is None else choice.why,
            k_text=choice.k_text,
            k_visual=choice.k_visual,
            budget=budget if choice.budget is None else choice.budget,
            method=self.name,
            options=self.options(),
            features=choice.features,
            report=choice.report or {},
        )


def check_scored(scores: TokenScores) -> None:
    """ScoreError unless these are TokenScores with one finite t2i and saliency for each visual token."""
    if not isinstance(scores, TokenScores):
        raise ScoreError(f"Expected TokenScores from `Engine.score`, got {type(scores).__name__}.")
    shape = scores.visual.saliency.shape
    for kind, values in (("t2i", scores.t2i), ("saliency", scores.saliency)):
        if values.shape != shape:
            raise ScoreError(
                f"{kind} must have shape {tuple(shape)}, one score a visual token; got {(*values.shape,)}."
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


def over_last_kept(ranking: Tensor, kept: Tensor, head: Tensor | None = None) -> Tensor:
    """(N,) float32: a ranking ≥ 0 over its lowest kept value, held at ≥ 1 where kept and < 1 elsewhere.

    head: (N,) bool, the kept tokens that this ranking chose, where others were kept by another rule.
    """
    ranking = ranking.float()
    last = ranking.masked_fill(~(kept if head is None else head), torch.inf).amin()
    ratio = torch.where(last > 0, ranking / last, kept.float()).clamp(max=torch.finfo(torch.float32).max)
    return torch.where(kept, ratio.clamp(min=1.0), ratio.clamp(max=BELOW_ONE))


def best_of(ranking: Tensor, budget: int) -> tuple[Tensor, Tensor]:
    """The mask of the `budget` largest of (N,) values (ties by lower index), and their scaled mixed score."""
    kept = keep(top_k(ranking, budget), ranking.shape[0])
    return kept, over_last_kept(ranking, kept)
