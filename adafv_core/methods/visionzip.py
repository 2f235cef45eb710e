"""VisionZip: keeps the most attended tokens and merges the rest into a few."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from adafv_core.checks import whole
from adafv_core.methods.base import Choice, Method, keep, kept_because
from adafv_core.mixing import top_k
from adafv_core.types import TokenScores, Why


@dataclass(frozen=True, eq=False)
class VisionZip(Method):
    """VisionZip (arXiv 2412.04467): "dominant" tokens by [CLS] attention, the others merged into "contextual" ones.

    The budget is divided dominant : contextual, 54 : 10 as published (the dominant share rounded to the nearest
    integer). Of the remaining tokens, in LLM order, evenly strided ones become merge targets; each of the others joins
    its nearest target by the cosine of the feature layer's head-averaged keys, and a target's feature becomes its own
    plus the mean of those that joined it. Projected features are merged, so the projector need not run again. All
    crops form one pool; [CLS] itself is not a visual token. Raises InputError if the model's adapter provides no keys.
    """

    name: ClassVar[str] = "visionzip"
    title: ClassVar[str] = "VisionZip"
    keeps: ClassVar[str] = "the most attended tokens, and merged ones for the rest"
    source: ClassVar[str] = "VisionZip, arXiv 2412.04467"
    reads_t2i: ClassVar[bool] = False
    dominant: int = 54
    contextual: int = 10

    def __post_init__(self) -> None:
        whole("dominant", self.dominant, 1)
        whole("contextual", self.contextual, 0)

    def choose(self, scores: TokenScores, budget: int) -> Choice:
        keys = scores.visual.required("vision_keys", "visionzip")
        total = self.dominant + self.contextual
        n_dominant = max(1, (2 * budget * self.dominant + total) // (2 * total))
        n_contextual = budget - n_dominant
        head = keep(top_k(scores.saliency, n_dominant), scores.size)
        rest = (~head).nonzero()[:, 0]
        stride = max(1, rest.shape[0] // max(1, n_contextual))
        is_target = keep(torch.arange(n_contextual, device=rest.device) * stride, rest.shape[0])
        targets, others = rest[is_target], rest[~is_target]
        kept = head | keep(targets, scores.size)
        why = kept_because(kept, Why.METHOD).masked_fill(head, int(Why.VISION))
        features = None
        if n_contextual and others.shape[0]:
            features = _merge(scores.visual.required("features", "visionzip"), keys, targets, others)[kept]
        return Choice(kept, why=why, k_visual=n_dominant, features=features, ranking=scores.saliency, head=head)


def _merge(features: Tensor, keys: Tensor, targets: Tensor, others: Tensor) -> Tensor:
    """The (N, D) features; each target has the mean of the others that are nearest to it by key added."""
    unit = functional.normalize(keys.float(), dim=-1)
    nearest = (unit[others] @ unit[targets].T).argmax(dim=1)
    joined = functional.one_hot(nearest, targets.shape[0]).float().T
    mean = joined @ features[others].float() / joined.sum(dim=1, keepdim=True).clamp(min=1.0)
    merged = features.clone()
    merged[targets] = (features[targets].float() + mean).to(features.dtype)
    return merged
