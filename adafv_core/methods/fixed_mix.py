"""Half from each ranking."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from adafv_core.checks import check_choice, check_temperature
from adafv_core.methods.base import Choice, Method, best_choice
from adafv_core.mixing import top_k
from adafv_core.scoring import TEXT_TOKENS, rescored_t2i
from adafv_core.types import TokenScores, Why


@dataclass(frozen=True, eq=False)
class FixedMix(Method):
    """Half of the K tokens from each ranking, duplicates replaced: adafv without the adaptive split (ablation).

    The two rankings take turns, text first, each offering its next token, until K distinct tokens are taken. So each
    side contributes K/2 tokens, plus further turns to make up for duplicates, which count once.
    """

    name: ClassVar[str] = "fixed_mix"
    title: ClassVar[str] = "Half-and-half mix"
    keeps: ClassVar[str] = "half from the T2I ranking, half from the saliency ranking (ablation)"
    temperature: float = 100.0
    text_tokens: str = "question"

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        check_choice("text_tokens", self.text_tokens, TEXT_TOKENS)

    def choose(self, scores: TokenScores, budget: int) -> Choice:
        size = scores.size
        places = torch.arange(size, device=scores.t2i.device)
        text, visual = torch.empty_like(places), torch.empty_like(places)
        text[top_k(rescored_t2i(scores, self.temperature, self.text_tokens), size)] = places
        visual[top_k(scores.saliency, size)] = places
        turn = torch.minimum(2 * text, 2 * visual + 1)
        best = best_choice(1.0 / (turn + 1).float(), budget)
        turns = int(turn[best.kept].max()) + 1
        k_text, k_visual = (turns + 1) // 2, turns // 2
        why = (text < k_text) * int(Why.TEXT) + (visual < k_visual) * int(Why.VISION)
        return replace(best, why=why.to(torch.int8), k_text=k_text, k_visual=k_visual)
