"""No pruning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from adafv_core.methods.base import Choice, Method
from adafv_core.types import TokenScores


@dataclass(frozen=True, eq=False)
class Full(Method):
    """Every visual token stays, whatever the budget: the model without pruning. Nominal budget: N."""

    name: ClassVar[str] = "full"
    title: ClassVar[str] = "All tokens"
    keeps: ClassVar[str] = "every visual token: the model without pruning"
    exact: ClassVar[bool] = False
    reads_t2i: ClassVar[bool] = False

    def layer_tokens(self, size: int, budget: int, depth: int) -> tuple[int, ...]:
        return (size,) * depth

    def whole_layers(self, size: int, budget: int, depth: int) -> int:
        return depth

    def choose(self, scores: TokenScores, budget: int) -> Choice:
        return Choice(torch.ones_like(scores.t2i, dtype=torch.bool), budget=scores.size)
