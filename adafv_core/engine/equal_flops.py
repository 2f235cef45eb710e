"""The budget of visual tokens at which a prompt's prefill costs a given share of its full FLOPs.

A token costs a method before the LLM every layer, a method inside it only some layers, and the text of a prompt costs
both the same. Methods are therefore compared at equal prefill FLOPs (`cost.prefill_flops`) as well as at equal tokens.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction

from adafv_core.cost import LLMShape, prefill_flops
from adafv_core.errors import BudgetError
from adafv_core.methods import Method
from adafv_core.types import VisualTokens


def solved_budgets(
    flops_ratio: float,
    method: Method,
    visuals: Sequence[VisualTokens],
    n_text: int,
    llm: LLMShape,
    newline: str = "drop",
    share: str = "image",
) -> tuple[int, ...]:
    """The largest budgets whose prefill FLOPs are at most `flops_ratio` of those of the whole prompt.

    One K for each image, or with share="all" a single one for all of them. Images of different sizes keep the same
    fraction: Kᵢ = max(1, round(K · Nᵢ / N)), K being the budget of the largest, of N tokens. The whole prompt has
    `n_text` text tokens and all visual and newline tokens. The pruned one has the text, what `method.layer_tokens` says
    each layer sees, and newline tokens: all of them in layers that see the whole image, otherwise none with
    newline="drop" and at most one per kept token with "rows". Padding of a batch, the vision encoder and decoding do
    not count.

    Solved by bisection, since FLOPs never fall as K grows. Raises BudgetError if even K = 1 costs more.
    """
    images = [(visual.size, visual.stock_size - visual.size) for visual in visuals]
    if share == "all":
        images = [(sum(size for size, _ in images), sum(newlines for _, newlines in images))]
    largest = max(size for size, _ in images)
    full = prefill_flops(llm, n_text + sum(size + newlines for size, newlines in images))
    most = Fraction(float(flops_ratio)) * full

    def budgets(budget: int) -> tuple[int, ...]:
        return tuple(max(1, round(Fraction(budget * size, largest))) for size, _ in images)

    def flops(budget: int) -> int:
        lengths = [n_text] * llm.layers
        for (size, newlines), own in zip(images, budgets(budget), strict=True):
            whole = method.whole_layers(size, own, llm.layers)
            for layer, seen in enumerate(method.layer_tokens(size, own, llm.layers)):
                closing = newlines if layer < whole else min(newlines, seen) if newline == "rows" else 0
                lengths[layer] += seen + closing
        return prefill_flops(llm, lengths)

    def exceeds(budget: int) -> bool:
        try:
            return flops(budget) > most
        except BudgetError:  # below what the method can reach: too small, not too expensive
            return False

    fitting = bisect_left(range(1, largest + 1), True, key=exceeds)
    if not fitting:
        least = _rounded_up(Fraction(flops(1), full))
        raise BudgetError(
            f"flops_ratio must be at least {least} for {method.name} here: the smallest "
            f"budget, with {n_text} text tokens beside it, takes that share of the prefill; got {flops_ratio!r}."
        )
    return budgets(fitting)


def _rounded_up(share: Fraction) -> str:
    """A share as a decimal number that is not below it."""
    return f"{float(-(-share * 10_000 // 1) / 10_000):g}"
