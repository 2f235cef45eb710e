"""CDPruner: diversity conditioned on the question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from adafv_core.checks import check_choice
from adafv_core.errors import InputError
from adafv_core.greedy import cosine_matrix, dpp_order, evenly_over, min_max
from adafv_core.methods.base import NestedMethod, question_tokens
from adafv_core.scoring import TEXT_TOKENS
from adafv_core.types import TokenScores

SPACES = ("llm", "clip")


class CLIPSpace(Protocol):
    """A CLIP model that maps encoder features and a question into one space."""

    def cosines(self, vision_features: Tensor, question: str) -> Tensor:
        """(S, N) float32 cosines of the S segments of a question with (N, Dv) encoder features."""


@dataclass(frozen=True, eq=False)
class CDPruner(NestedMethod):
    """CDPruner (arXiv 2506.10967): the most diverse tokens among those relevant to the question.

    Greedy MAP of a determinantal point process with kernel diag(r) S diag(r): S the cosines of projected tokens, r the
    relevance, scaled to [0, 1]. space: "llm" takes r from the mean cosine with the question's words (as OpenVINO
    GenAI does); "clip" from the *negative* mean cosine in CLIP's space, as the authors do (the minus sign is
    intentional, and for CLIP only), which needs `clip`, a `CLIPSpace` such as the one that
    `adafv_core.loading.clip_space.load_clip_space` returns: LLaVA checkpoints contain no CLIP text tower. centered:
    mean-centered cosines, and r times the scaled dissimilarity of a token to the mean of all others ("Cen-Prune",
    2026). per_crop: divide the budget evenly over the crops. text_tokens: "question" or "all" (space "llm").
    """

    name: ClassVar[str] = "cdpruner"
    title: ClassVar[str] = "CDPruner"
    keeps: ClassVar[str] = "the most diverse of the relevant tokens"
    source: ClassVar[str] = "CDPruner, arXiv 2506.10967"
    space: str = "llm"
    centered: bool = False
    per_crop: bool = False
    text_tokens: str = "question"
    clip: CLIPSpace | None = None

    def __post_init__(self) -> None:
        check_choice("space", self.space, SPACES)
        check_choice("text_tokens", self.text_tokens, TEXT_TOKENS)

    def order(self, scores: TokenScores, count: int) -> Tensor:
        features = scores.visual.required("features", self.name)
        relevance = min_max(self._relevance(scores))
        crops = scores.visual.grid.crops
        if not self.per_crop or len(crops) == 1:
            return self._order(features, relevance, count)
        picked = []
        for crop, share in zip(crops, evenly_over([crop.size for crop in crops], count), strict=True):
            part = slice(crop.offset, crop.offset + crop.size)
            if share:
                picked.append(crop.offset + self._order(features[part], relevance[part], share))
        return torch.cat(picked)

    def _order(self, features: Tensor, relevance: Tensor, count: int) -> Tensor:
        if self.centered:
            relevance = relevance * min_max(-mean_cosine_of_others(features))
        return dpp_order(cosine_matrix(features, self.centered), relevance, count)[0]

    def _relevance(self, scores: TokenScores) -> Tensor:
        if self.space == "llm":
            words = functional.normalize(question_tokens(scores, self.text_tokens, self.name), dim=-1)
            return (words @ functional.normalize(scores.visual.required("features", self.name).float(), dim=-1).T).mean(
                dim=0
            )
        if self.clip is None:
            raise InputError(
                'cdpruner with space="clip" needs a CLIP text tower, which this model\'s files do not hold: pass '
                'clip=load_clip_space("openai/clip-vit-large-patch14-336"), or use space="llm".'
            )
        return -self.clip.cosines(scores.visual.required("vision_features", self.name), scores.prompt).mean(dim=0)


def mean_cosine_of_others(features: Tensor) -> Tensor:
    """(N,) mean cosine of each token with all others (raw, not centered); 0 where there is only one."""
    unit = functional.normalize(features.float(), dim=-1)
    total = unit @ unit.sum(dim=0) - unit.square().sum(dim=-1)
    return total / max(1, features.shape[0] - 1)
