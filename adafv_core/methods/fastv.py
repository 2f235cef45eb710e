"""FastV: pruning inside the LLM, by the LLM's own attention."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from adafv_core.checks import check_budget, check_scores, whole
from adafv_core.cost import layer_averaged_budget
from adafv_core.errors import InputError, ScoreError
from adafv_core.methods.base import Choice, Method, best_choice
from adafv_core.types import Selection, TokenScores


@dataclass(frozen=True, eq=False)
class FastV(Method):
    """FastV (arXiv 2403.06764): all visual tokens pass through the first layers, K of them through the others.

    layer: the first layer that sees only K visual tokens, 2 as published (layers counted from 0). The K tokens are
    those with the highest head-averaged attention from the last prompt token in the previous layer; they keep their
    position ids. Because the first layers see all N tokens, `report` has `layer_averaged_budget`, the budget by which
    to compare methods, and `ranking`, the (N,) float32 attention that the tokens were ranked by.
    """

    name: ClassVar[str] = "fastv"
    inside_llm: ClassVar[bool] = True
    layer: int = 2

    def __post_init__(self) -> None:
        whole("layer, which is pruned by the attention of the layer before it,", self.layer, 1)

    def choose(self, scores: TokenScores, budget: int) -> Choice:
        raise InputError("fastv chooses inside the LLM: pass its attention row to select_from_attention.")

    def select_from_attention(self, attention: Tensor, budget: int, layers: int) -> Selection:
        """Select the tokens of one image.

        attention: (H, N) float, from the last prompt token to the visual tokens, in layer `layer` − 1. budget: K.
        layers: number of LLM layers. Raises ScoreError, BudgetError, and InputError if the LLM has too few layers.
        """
        if attention.dim() != 2:
            raise ScoreError(f"The attention row must have shape (heads, N); got {tuple(attention.shape)}.")
        size = attention.shape[1]
        budget = check_budget(budget, size)
        ranking = check_scores("attention", attention).float().mean(dim=0)
        averaged = layer_averaged_budget(layers, self.layer, size, budget)
        report = {"layer_averaged_budget": averaged, "ranking": ranking}
        return self.selection(replace(best_choice(ranking, budget), report=report), budget)
