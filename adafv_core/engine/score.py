"""From one image and one prompt to `TokenScores`, and from a keep ratio to a budget: shared by all who
select.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from adafv_core.checks import budget_from_keep_ratio, check_budget
from adafv_core.errors import BudgetError
from adafv_core.scoring import most_attended, word_attention
from adafv_core.types import Selection, TokenScores, VisualTokens

DEFAULT_KEEP_RATIO = 0.1


def score_tokens(
    visual: VisualTokens,
    text_tokens: Tensor,
    words: Sequence[str],
    counted: Sequence[bool],
    prompt: str,
    temperature: float = 100.0,
    history: Sequence[tuple[str, str]] = (),
) -> TokenScores:
    """T2I attention and saliency of one image for text tokens (T, D), of which the counted ones make t2i."""
    features = visual.required("features", "Scoring")
    device = features.device
    mask = torch.tensor(list(counted), dtype=torch.bool, device=device)
    word_t2i = word_attention(text_tokens.to(device), features, temperature)
    return TokenScores(
        t2i=most_attended(word_t2i, mask),
        saliency=visual.saliency,
        words=tuple(words),
        word_t2i=word_t2i,
        counted=mask,
        text_tokens=text_tokens,
        visual=visual,
        prompt=prompt,
        temperature=temperature,
        history=tuple(history),
    )


def resolve_budget(size: int, keep_ratio: float | None, budget: int | None) -> int:
    """K from whichever of the two was given (a tenth, if neither). Raises BudgetError for both or out of
    range.
    """
    if keep_ratio is not None and budget is not None:
        raise BudgetError(f"Give keep_ratio or budget, not both; got {keep_ratio!r} and {budget!r}.")
    if budget is not None:
        return check_budget(budget, size)
    return budget_from_keep_ratio(DEFAULT_KEEP_RATIO if keep_ratio is None else keep_ratio, size)


def wanted_positions(selection: Selection) -> str:
    """The position ids the method asked for."""
    return str(selection.options.get("positions", "contiguous"))
