"""Drops visual tokens in training, by no method's rule: some things stay, the rest of the budget is random."""

from __future__ import annotations

import math
import random

import torch
from torch import Tensor

from adafv_core.pocket.world.questions import Question

SHARE = 0.6
"""Share of batches that lose visual tokens."""
_FEWEST = 8
_SEEN = 2


def draw_budget(rng: random.Random, patches: int) -> int:
    """How many visual tokens a batch keeps: all of them, or log-uniform from 8 to all."""
    if rng.random() >= SHARE:
        return patches
    return round(math.exp(rng.uniform(math.log(_FEWEST), math.log(patches))))


def keep_some(owners: Tensor, budget: int, rng: random.Random) -> Tensor:
    """Which tokens of one picture stay: (budget,) int64, ascending.

    owners: (N,) int64, see `patch_owners`. Some or all tokens of things in random order, until they fill four
    fifths of the budget, then anything at random.
    """
    draw = torch.tensor([rng.random() for _ in range(len(owners))])
    room = int(0.8 * budget)
    for thing in rng.sample(range(int(owners.max()) + 1), int(owners.max()) + 1):
        places = (owners == thing).nonzero()[:, 0].tolist()
        if places and room > 0:
            chosen = rng.sample(places, min(room, rng.randint(min(_SEEN, len(places)), len(places))))
            room -= len(chosen)
            draw[chosen] += 1
    return draw.topk(budget).indices.sort().values


def answerable(question: Question, owners: Tensor, kept: Tensor) -> bool:
    """Whether some of each thing that the question is about is still there, or there is nothing to see at all."""
    left = owners[kept]
    named = question.targets[:1] if question.family == "relation" else question.targets
    return all(int((left == thing).sum()) >= min(_SEEN, int((owners == thing).sum())) for thing in named)
