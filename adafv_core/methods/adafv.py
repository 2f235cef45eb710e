"""AdaFV: the budget splits itself between text and vision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from adafv_core.checks import check_choice, check_floor, check_temperature
from adafv_core.methods.base import Choice, Method
from adafv_core.mixing import Mix, mix
from adafv_core.scoring import TEXT_TOKENS, rescored_t2i
from adafv_core.types import TokenScores, Why


@dataclass(frozen=True, eq=False)
class AdaFV(Method):
    """AdaFV (arXiv 2501.09532; "AdaV", Findings of ACL 2025): the budget splits itself between text and vision.

    Self-adaptive cross-modality attention mixture: of all splits of the budget into the first k_text of the T2I
    ranking and the first k_visual of the saliency ranking with exactly K distinct tokens, the one with the largest
    geometric mean of the attention that each side collects.

    temperature: γ of section 1. text_tokens: which words count, "question" or "all". floor: 0..0.5, the share of K
    guaranteed to each side (0: the paper's objective; 0.25: close to the authors' code).
    force_keep, force_drop: (N,) bool masks; tokens forced to stay count against the budget.
    """

    name: ClassVar[str] = "adafv"
    title: ClassVar[str] = "AdaFV"
    keeps: ClassVar[str] = "heads of both rankings; how K is split is decided for each image and question"
    source: ClassVar[str] = "AdaFV, arXiv 2501.09532"
    temperature: float = 100.0
    floor: float = 0.0
    text_tokens: str = "question"
    force_keep: Tensor | None = None
    force_drop: Tensor | None = None

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        check_floor(self.floor)
        check_choice("text_tokens", self.text_tokens, TEXT_TOKENS)

    def choose(self, scores: TokenScores, budget: int) -> Choice:
        t2i = rescored_t2i(scores, self.temperature, self.text_tokens)
        masks = (self.force_keep, self.force_drop)
        best = mix(t2i, scores.saliency, budget, self.floor, *masks)
        free = best if self.floor == 0 else mix(t2i, scores.saliency, budget, 0.0, *masks)
        return Choice(best.kept, best.mixed, _why(best, free), int(best.k_text), int(best.k_visual))


def _why(best: Mix, free: Mix) -> Tensor:
    """(N,) int8. FLOOR marks tokens that the same budget would drop with floor 0."""
    why = best.in_text * int(Why.TEXT) + best.in_visual * int(Why.VISION)
    why = why.masked_fill(best.kept & ~best.in_text & ~best.in_visual, int(Why.FORCED))
    return why.masked_fill(best.kept & ~free.kept, int(Why.FLOOR)).to(torch.int8)
