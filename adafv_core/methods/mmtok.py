"""MMTok: covers the words and the picture at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from adafv_core.checks import check_choice, check_weight
from adafv_core.greedy import cosine_matrix, coverage_order
from adafv_core.methods.base import NestedMethod, question_tokens
from adafv_core.scoring import TEXT_TOKENS
from adafv_core.types import TokenScores


@dataclass(frozen=True, eq=False)
class MMTok(NestedMethod):
    """MMTok (arXiv 2508.18264): the tokens that together cover both the question's words and the whole picture.

    Greedy maximum coverage of the rows of [P; alpha · Q]. P: softmax over visual tokens of cos(t, v) divided by
    text_temperature, one row per word, divided by the number of words. Q: the same between encoder features u, with
    image_temperature, divided by N. alpha: weight of the picture's rows. text_tokens: "question" or "all". Does not
    use saliency.
    """

    name: ClassVar[str] = "mmtok"
    title: ClassVar[str] = "MMTok"
    keeps: ClassVar[str] = "tokens that cover the question's words and the image"
    source: ClassVar[str] = "MMTok, arXiv 2508.18264"
    text_temperature: float = 0.02
    image_temperature: float = 0.2
    alpha: float = 0.5
    text_tokens: str = "question"

    def __post_init__(self) -> None:
        for name in ("text_temperature", "image_temperature"):
            check_weight(name, getattr(self, name), 1e-4, 100.0)
        check_weight("alpha", self.alpha, 0.0, 100.0)
        check_choice("text_tokens", self.text_tokens, TEXT_TOKENS)

    def order(self, scores: TokenScores, count: int) -> Tensor:
        features = scores.visual.required("vision_features", self.name)
        words = functional.normalize(question_tokens(scores, self.text_tokens, self.name), dim=-1)
        tokens = functional.normalize(scores.visual.required("features", self.name).float(), dim=-1)
        of_words = (words @ tokens.T / self.text_temperature).softmax(dim=-1) / words.shape[0]
        of_picture = (cosine_matrix(features) / self.image_temperature).softmax(dim=-1) / features.shape[0]
        return coverage_order(torch.cat((of_words, self.alpha * of_picture)), count)
