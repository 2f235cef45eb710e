"""Seeded random tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from adafv_core.checks import whole
from adafv_core.errors import InputError
from adafv_core.methods.base import Choice, Method, best_choice
from adafv_core.types import TokenScores


@dataclass(frozen=True, eq=False)
class Random(Method):
    """K tokens drawn uniformly without replacement: the baseline that any score must beat.

    Each token gets a random number in [0, 1) from a generator seeded with `seed`; the K largest stay. So the same seed
    and N give the same tokens on every device, and a larger budget only adds tokens. seed: from −2⁶³ to 2⁶⁴ − 1, the
    range that torch accepts.
    """

    name: ClassVar[str] = "random"
    title: ClassVar[str] = "Random"
    keeps: ClassVar[str] = "K random tokens, seeded"
    reads_t2i: ClassVar[bool] = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not -(2**63) <= whole("seed", self.seed) < 2**64:
            raise InputError(f"seed must be from -2**63 to 2**64 - 1; got a number of {self.seed.bit_length()} bits.")

    def choose(self, scores: TokenScores, budget: int) -> Choice:
        draws = torch.rand(scores.size, generator=torch.Generator().manual_seed(self.seed))
        return best_choice(draws.to(scores.t2i.device), budget)
