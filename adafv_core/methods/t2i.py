"""Text-to-image attention alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from adafv_core.checks import check_choice, check_temperature
from adafv_core.methods.base import Choice, Method, best_choice, kept_because
from adafv_core.scoring import TEXT_TOKENS, rescored_t2i
from adafv_core.types import TokenScores, Why


@dataclass(frozen=True, eq=False)
class T2I(Method):
    """The K tokens with the highest T2I attention (a of section 1): adafv without saliency (ablation)."""

    name: ClassVar[str] = "t2i"
    title: ClassVar[str] = "T2I attention"
    keeps: ClassVar[str] = "the K tokens most similar to the question's words (ablation)"
    temperature: float = 100.0
    text_tokens: str = "question"

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        check_choice("text_tokens", self.text_tokens, TEXT_TOKENS)

    def choose(self, scores: TokenScores, budget: int) -> Choice:
        best = best_choice(rescored_t2i(scores, self.temperature, self.text_tokens), budget)
        return replace(best, why=kept_because(best.kept, Why.TEXT), k_text=budget)
