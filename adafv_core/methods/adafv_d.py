"""AdaFV-D: named or salient tokens, without spending the budget on near-duplicates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from adafv_core.checks import check_choice, check_forced, check_temperature
from adafv_core.greedy import cosine_matrix, dpp_order
from adafv_core.methods.base import Choice, NestedMethod, keep
from adafv_core.scoring import TEXT_TOKENS, rescored_t2i
from adafv_core.types import TokenScores, Why


@dataclass(frozen=True, eq=False)
class AdaFVD(NestedMethod):
    """AdaFV-D (this project): AdaFV's two scores, without spending the budget on near-duplicates.

    Quality q = ½ (a / Σa + c / Σc) of T2I attention a and saliency c, divided by its maximum; then greedy MAP of the
    determinantal point process diag(q) S diag(q) over cosines S of projected tokens, as in CDPruner. AdaFV spends its
    budget on neighboring tokens of one object, which have similar scores; here each pick lowers the value of similar
    tokens, so that things the question does not name (what is *left of* the ring) are kept too. Nested: a larger
    budget keeps everything that a smaller one keeps.

    The reason a token stays is its larger share of q: text or vision if above two thirds, else both. `report` has
    `novelty`, (N,) float32: the share of each token that the picks before it do not explain, 0 if similar tokens were
    already kept. temperature: γ of section 1. text_tokens: "question" or "all". force_keep, force_drop: (N,) bool
    masks; tokens forced to stay count against the budget and are picked first.
    """

    name: ClassVar[str] = "adafv_d"
    title: ClassVar[str] = "AdaFV-D"
    keeps: ClassVar[str] = "named or salient tokens, without near-duplicates"
    source: ClassVar[str] = "this project"
    temperature: float = 100.0
    text_tokens: str = "question"
    force_keep: Tensor | None = None
    force_drop: Tensor | None = None

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        check_choice("text_tokens", self.text_tokens, TEXT_TOKENS)

    def order(self, scores: TokenScores, count: int) -> Tensor:
        return self._picks(scores, self._shares(scores), count)[0]

    def choose(self, scores: TokenScores, budget: int) -> Choice:
        picks, novelty = self._picks(scores, self._shares(scores), budget)
        return replace(self.choice(scores, picks), report={"novelty": novelty})

    def choice(self, scores: TokenScores, picks: Tensor) -> Choice:
        shares = self._shares(scores)
        check_forced(self.force_keep, self.force_drop, scores.size, picks.shape[0], shares.device)
        quality = shares.sum(dim=0)
        text = shares[0] / quality.clamp(min=torch.finfo(torch.float32).tiny)
        why = torch.full_like(text, int(Why.BOTH), dtype=torch.int8)
        why[text > 2 / 3] = int(Why.TEXT)
        why[text < 1 / 3] = int(Why.VISION)
        if self.force_keep is not None:
            why[self.force_keep.to(why.device)] = int(Why.FORCED)
        kept = keep(picks, scores.size)
        return Choice(
            kept,
            why=why.masked_fill(~kept, int(Why.DROPPED)),
            k_text=int((why[picks] == int(Why.TEXT)).sum()),
            k_visual=int((why[picks] == int(Why.VISION)).sum()),
            ranking=quality,
        )

    def _shares(self, scores: TokenScores) -> Tensor:
        """(2, N) float32: the shares of text and vision in q. A side that is 0 everywhere contributes nothing."""
        both = torch.stack((rescored_t2i(scores, self.temperature, self.text_tokens), scores.saliency)).float()
        shares = both / both.sum(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
        return shares / shares.sum(dim=0).amax().clamp(min=torch.finfo(torch.float32).tiny)

    def _picks(self, scores: TokenScores, shares: Tensor, count: int) -> tuple[Tensor, Tensor]:
        first, barred = check_forced(self.force_keep, self.force_drop, scores.size, count, shares.device)
        return dpp_order(
            cosine_matrix(scores.visual.required("features", self.name)), shares.sum(dim=0), count, first, barred
        )
