"""The two rows that bound a results table: keeping the tokens known to be relevant, and keeping next to none."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from adafv_core.methods.base import keep, kept_because
from adafv_core.study.measure.object_tokens import ObjectTokens
from adafv_core.types import Selection, VisualTokens, Why

ORACLE, BLIND = "oracle", "blind"
BOUNDS = (ORACLE, BLIND)
TITLES = {ORACLE: "Oracle", BLIND: "Blind"}
"""The bounds in words, as tables show them."""


def oracle(visual: VisualTokens, objects: ObjectTokens, needed: Sequence[int], budget: int) -> Selection:
    """Keep tokens of the objects that the answer depends on first, then the rest by [CLS] saliency.

    The objects take turns, each offering its next token, the most covered first (ties: the more salient, then the
    lower index). For a question that depends on no object (about an absent one), this is plain saliency. It uses the
    ground truth, so it is not a method: it shows what the model could do with `budget` well-chosen tokens.
    """
    saliency = visual.saliency.cpu()
    by_saliency = saliency.sort(descending=True, stable=True).indices
    turn = torch.full((visual.size,), torch.inf, dtype=torch.float64)
    for place, object_id in enumerate(needed):
        on = objects.on(object_id)
        cover = objects.covers[object_id][by_saliency].sort(descending=True, stable=True)
        order = by_saliency[cover.indices]
        order = order[on[order]]
        turns = torch.arange(order.numel(), dtype=torch.float64) * len(needed) + place
        turn[order] = torch.minimum(turn[order], turns)
    ranking = by_saliency[turn[by_saliency].sort(stable=True).indices]
    return _selection(keep(ranking[:budget], visual.size), budget, ORACLE, visual)


def blind(visual: VisualTokens, objects: ObjectTokens) -> Selection:
    """Keep a single token, the fewest any method may keep: the least salient of those on no object.

    Questions that are still answered correctly are guessed by the language model from the text. (More background
    tokens would not be blind: the vision encoder's own attention carries traces of objects into them.) If every token
    is on an object, the least salient of all.
    """
    ground = objects.off_all(tuple(objects.covers))
    saliency = visual.saliency.cpu().double()
    if bool(ground.any()):
        saliency = saliency.masked_fill(~ground, torch.inf)
    return _selection(keep(saliency.argmin()[None], visual.size), 1, BLIND, visual)


def _selection(kept: Tensor, budget: int, method: str, visual: VisualTokens) -> Selection:
    kept = kept.to(visual.saliency.device)
    return Selection(
        indices=kept.nonzero()[:, 0],
        kept=kept,
        mixed=kept.float(),
        why=kept_because(kept, Why.METHOD),
        k_text=0,
        k_visual=0,
        budget=budget,
        method=method,
        image_key=visual.image_key,
        model_key=visual.model_key,
    )
