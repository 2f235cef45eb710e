"""PyramidDrop: fewer visual tokens after each quarter of the LLM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from adafv_core.checks import check_choice
from adafv_core.errors import BudgetError
from adafv_core.methods.inside import InsideMethod, Stage, scaled

MEANS = ("pruned", "all")


@dataclass(frozen=True, eq=False)
class PyramidDrop(InsideMethod):
    """PyramidDrop (arXiv 2410.17247): after each quarter of the LLM the same share of the visual tokens stays.

    A token stays by its head-averaged attention from the last prompt token in the layer before. As published half of
    them stay each time (50, 25 and 12.5 % of N); here the share λ, λ², λ³ is solved so that the mean number of visual
    tokens over layers is K. mean_over: "pruned", the layers after the first quarter, as K of fastv is counted; "all",
    as papers state their budgets, which cannot be below the first quarter's N / 4. `report` has both means.
    """

    name: ClassVar[str] = "pyramiddrop"
    title: ClassVar[str] = "PyramidDrop"
    keeps: ClassVar[str] = "after each quarter of the LLM the same share, by what the last prompt token attends to"
    source: ClassVar[str] = "PyramidDrop, arXiv 2410.17247"
    positions: ClassVar[str] = "contiguous"
    exact: ClassVar[bool] = False
    mean_over: str = "pruned"

    def __post_init__(self) -> None:
        check_choice("mean_over", self.mean_over, MEANS)

    def layers_of(self, depth: int) -> tuple[int, ...]:
        return scaled((1, 2, 3), 4, depth)

    def stages(self, size: int, budget: int, depth: int) -> tuple[Stage, ...]:
        layers = self.layers_of(depth)
        spans = [later - layer for layer, later in zip(layers, (*layers[1:], depth), strict=True)]
        before = layers[0] if self.mean_over == "all" else 0
        wanted = budget * (sum(spans) + before) - before * size
        if wanted < sum(spans):
            raise BudgetError(
                f"pyramiddrop sees all {size} visual tokens in {before} of {depth} layers, so a mean of {budget} over "
                'all layers cannot be reached; ask for more, or use mean_over="pruned".'
            )
        low, high = 0.0, 1.0
        for _ in range(60):
            share = (low + high) / 2
            mean = sum(span * size * share**power for power, span in enumerate(spans, 1))
            low, high = (share, high) if mean < wanted else (low, share)
        keeps = [max(1, round(size * high**power)) for power in range(1, len(spans) + 1)]
        return tuple(Stage(layer, keep) for layer, keep in zip(layers, keeps, strict=True))
