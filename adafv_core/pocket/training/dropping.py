"""Drops visual tokens in training, by no pruning method's rule: tokens of random things, then random tokens."""

from __future__ import annotations

import math
import random

import torch
from torch import Tensor

from adafv_core.pocket.world.questions import SceneQuestion

_FEWEST = 8
_ENOUGH = 2


def draw_budget(rng: random.Random, patches: int, drop_share: float) -> int:
    """Draw the number of visual tokens a batch keeps: all of them, or, with probability `drop_share`, log-uniform from
    8 to all."""
    if rng.random() >= drop_share:
        return patches
    return round(math.exp(rng.uniform(math.log(_FEWEST), math.log(patches))))


def draw_kept(owners: Tensor, budget: int, rng: random.Random) -> Tensor:
    """Draw the tokens that one image keeps: (budget,) int64, ascending.

    owners: (N,) int64, see `patch_owners`. Goes through the things in random order and takes some or all tokens of
    each until 80 % of the budget is filled; the rest is uniform over the remaining tokens.
    """
    draw = torch.tensor([rng.random() for _ in range(len(owners))])
    room = int(0.8 * budget)
    for thing in rng.sample(range(int(owners.max()) + 1), int(owners.max()) + 1):
        tokens = (owners == thing).nonzero()[:, 0].tolist()
        if tokens and room > 0:
            chosen = rng.sample(tokens, min(room, rng.randint(min(_ENOUGH, len(tokens)), len(tokens))))
            room -= len(chosen)
            draw[chosen] += 1
    return draw.topk(budget).indices.sort().values


def answerable(question: SceneQuestion, owners: Tensor, kept: Tensor) -> bool:
    """Whether at least two tokens (or all, if fewer) of each thing the question names are kept; true if it names none.

    owners: (N,) int64, see `patch_owners`. kept: (K,) int64, indices of the kept tokens.
    """
    kept_owners = owners[kept]
    return all(
        int((kept_owners == thing).sum()) >= min(_ENOUGH, int((owners == thing).sum())) for thing in question.referents
    )
