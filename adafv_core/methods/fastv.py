"""FastV: pruning inside the LLM, by the LLM's own attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from adafv_core.checks import whole
from adafv_core.methods.inside import InsideMethod, Stage, check_depth


@dataclass(frozen=True, eq=False)
class FastV(InsideMethod):
    """FastV (arXiv 2403.06764): all visual tokens pass through the first layers, K of them through the others.

    layer: the first layer that sees only K visual tokens, 2 as published (layers counted from 0). The K tokens are
    those with the highest head-averaged attention from the last prompt token in the previous layer; they keep their
    position ids. Because the first layers see all N tokens, `report` has `layer_averaged_budget`, the budget by which
    to compare methods, and `ranking`, the (N,) float32 attention that the tokens were ranked by.
    """

    name: ClassVar[str] = "fastv"
    title: ClassVar[str] = "FastV"
    keeps: ClassVar[str] = "what the last prompt token attends to, from layer 2 of the LLM on"
    source: ClassVar[str] = "FastV, arXiv 2403.06764"
    one_ranking: ClassVar[bool] = True
    layer: int = 2

    def __post_init__(self) -> None:
        whole("layer, which is pruned by the attention of the layer before it,", self.layer, 1)

    def layers_of(self, depth: int) -> tuple[int, ...]:
        check_depth([self.layer], depth)
        return (self.layer,)

    def stages(self, size: int, budget: int, depth: int) -> tuple[Stage, ...]:
        return tuple(Stage(layer, budget) for layer in self.layers_of(depth))
