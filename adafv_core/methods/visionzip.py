"""VisionZip: keep the attended, merge the rest into a few."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from adafv_core.errors import InputError
from adafv_core.methods.base import Choice, Method, keep, kept_because, over_last_kept
from adafv_core.ranking import top_k
from adafv_core.types import TokenScores, Why


@dataclass(frozen=True, eq=False)
class VisionZip(Method):
    """VisionZip (arXiv 2412.04467): "dominant" tokens by [CLS] attention, the others merged into "contextual" ones.

    dominant : contextual share the budget, 54 : 10 as published (the dominant part rounded to the nearest
    integer). From the tokens that are not dominant, in LLM order, evenly strided targets are taken; every
    other one joins the target nearest by cosine of the head-averaged keys of the feature layer, and a
    target's feature becomes its own plus the mean of those that joined it. Merged are the projected
    features, so that the projector need not run again. All crops are one pool, and [CLS] itself is not
    among the visual tokens. Raises InputError where the model's adapter gives no keys.
    """

    name: ClassVar[str] = "visionzip"
    reads_t2i: ClassVar[bool] = False
    dominant: int = 54
    contextual: int = 10

    def __post_init__(self) -> None:
        whole = isinstance(self.dominant, int) and isinstance(self.contextual, int)
        if not whole or self.dominant < 1 or self.contextual < 0:
            raise InputError(
                "dominant and contextual must be whole numbers of at least 1 and 0; "
                f"got {self.dominant!r} and {self.contextual!r}."
            )

    def choose(self, scores: TokenScores, budget: int) -> Choice:
        keys = scores.visual.required("vision_keys", "visionzip")
        parts = self.dominant + self.contextual
        n_dominant = max(1, (2 * budget * self.dominant + parts) // (2 * parts))
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
        mixed = over_last_kept(scores.saliency, kept, head)
        return Choice(kept, mixed, why, k_visual=n_dominant, features=features)


def _merge(features: Tensor, keys: Tensor, targets: Tensor, others: Tensor) -> Tensor:
    """All (N, D) features, each target's with the mean of the others that are nearest to it by key added."""
    unit = functional.normalize(keys.float(), dim=-1)
    nearest = (unit[others] @ unit[targets].T).argmax(dim=1)
    joined = functional.one_hot(nearest, targets.shape[0]).float().T
    mean = joined @ features[others].float() / joined.sum(dim=1, keepdim=True).clamp(min=1.0)
    merged = features.clone()
    merged[targets] = (features[targets].float() + mean).to(features.dtype)
    return merged
