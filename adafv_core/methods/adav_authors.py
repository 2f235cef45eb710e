"""Reproduces the selection of the authors' public code, bugs included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from adafv_core.checks import check_budget
from adafv_core.errors import BudgetError, ScoreError
from adafv_core.methods.base import Choice, Method, keep
from adafv_core.mixing import top_k
from adafv_core.scoring import rescored_t2i
from adafv_core.types import TokenScores, Why


def pick(t2i: Tensor, cls_attention: Tensor, overall_tokens: int) -> Tensor:
    """The authors' selection: (B,) int64 indices, ascending, duplicates included.

    t2i: (N,), N = crops · patches in their code. cls_attention: (crops, patches). overall_tokens: K. With
    C crops, B = 2·C·⌊⌊K/2⌋/C⌋ and f = ⌊B/4⌋. List T: the B largest of t2i, descending. List V: for each
    crop in turn its B/C largest, descending, each at index (patch within the crop) + (number of the
    crop). The first f of each list are taken as they are; then, with the rest of V sorted descending, the heads
    k₁ + k₂ = B − 2f of the two remainders with the largest product of sums (float64; ties: the smaller k₁). Raises
    ScoreError on wrong shapes or non-finite values, BudgetError unless 1 ≤ K ≤ N.
    """
    text, visual = _lists(t2i, cls_attention, overall_tokens)
    return torch.cat((text, visual)).sort().values


def rounded_budget(overall_tokens: int, crops: int) -> int:
    """B, the length of the selected list for a nominal budget K and this number of crops."""
    return 2 * crops * (overall_tokens // 2 // crops)


@dataclass(frozen=True, eq=False)
class AdaVAuthors(Method):
    """AdaV's public code (arXiv 2501.09532) as it is: a quarter from each ranking, the rest split by product of sums.

    Only for reproducing the authors' numbers. `pick` is the definition. t2i counts every text token after the image,
    at temperature 100. The budget is nominal; `report` has `picked` (B, duplicates included) and `distinct`. Raises
    BudgetError if B would be 0 (K below two tokens per crop).
    """

    name: ClassVar[str] = "adav_authors"
    title: ClassVar[str] = "AdaV (authors' code)"
    keeps: ClassVar[str] = "what the authors' code selects, bugs included"
    source: ClassVar[str] = "arXiv 2501.09532 and its code"
    exact: ClassVar[bool] = False
    pick = staticmethod(pick)

    def choose(self, scores: TokenScores, budget: int) -> Choice:
        cls_attention = scores.visual.required("cls_attention", "adav_authors")
        crops = cls_attention.shape[0]
        if rounded_budget(budget, crops) == 0:
            raise BudgetError(
                f"adav_authors rounds the budget down to a multiple of {2 * crops} for {crops} crops; "
                f"ask for at least {2 * crops} tokens, not {budget}."
            )
        lists = _lists(rescored_t2i(scores, 100.0, "all"), cls_attention, budget)
        text, visual = (keep(part[part < scores.size], scores.size) for part in lists)
        kept = text | visual
        why = (text * int(Why.TEXT) + visual * int(Why.VISION)).to(torch.int8)
        report = {"picked": len(lists[0]) + len(lists[1]), "distinct": int(kept.sum())}
        return Choice(kept, None, why, len(lists[0]), len(lists[1]), report=report)


def _lists(t2i: Tensor, cls_attention: Tensor, overall_tokens: int) -> tuple[Tensor, Tensor]:
    """The indices taken from lists T and V, computed on the CPU, where float64 sums have a fixed order."""
    tensors = isinstance(t2i, Tensor) and isinstance(cls_attention, Tensor)
    if not tensors or t2i.dim() != 1 or cls_attention.dim() != 2:
        came = [tuple(one.shape) if isinstance(one, Tensor) else type(one).__name__ for one in (t2i, cls_attention)]
        raise ScoreError(
            "adav_authors needs t2i of shape (crops · patches,) and cls_attention of shape (crops, patches); "
            f"got {came[0]} and {came[1]}."
        )
    if not bool(torch.isfinite(t2i).all() and torch.isfinite(cls_attention).all()):
        raise ScoreError("t2i and cls_attention must be finite; some of their values are NaN or infinite.")
    overall_tokens = check_budget(overall_tokens, t2i.shape[0])
    device, t2i, cls_attention = t2i.device, t2i.detach().cpu(), cls_attention.detach().cpu()
    crops, patches = cls_attention.shape
    length = rounded_budget(overall_tokens, crops)
    if length // crops > patches:
        raise ScoreError(f"{length} tokens cannot be taken from {crops} crops of {patches} patches.")
    fixed = length // 4
    text = top_k(t2i, length)
    by_crop = cls_attention.sort(dim=1, descending=True, stable=True)
    number = torch.arange(crops).unsqueeze(1)
    visual = (by_crop.indices[:, : length // crops] + number).flatten()
    weight = by_crop.values[:, : length // crops].flatten()
    rest = top_k(weight[fixed:], length) + fixed
    free = length - 2 * fixed
    text_sums = functional.pad(t2i[text[fixed:]].double().cumsum(0), (1, 0))[: free + 1]
    visual_sums = functional.pad(weight[rest].double().cumsum(0), (1, 0))[: free + 1]
    k_text = int((text_sums * visual_sums.flip(0)).argmax())
    k_visual = free - k_text
    from_visual = torch.cat((visual[:fixed], visual[rest[:k_visual]]))
    return text[: fixed + k_text].to(device), from_visual.to(device)
