"""Figures 2 to 4 of the paper, measured on one question: does the text find the tokens of what it names?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from adafv_core.errors import ScoreError
from adafv_core.mixing import budget_path
from adafv_core.types import TokenScores

BINS = 400
"""Bins of figure 3's histograms: cosine −1..1 in steps of 0.005."""


def auc(scores: Tensor, on: Tensor, off: Tensor) -> float:
    """The probability that a token on the object scores higher than one off it (area under the ROC curve).

    scores: (N,). on, off: (N,) bool, disjoint; tokens in neither are ignored. A tie counts half. Raises ScoreError if
    there is no token on the object or none off it.
    """
    above, below = scores[on].double(), scores[off].double()
    if above.numel() == 0 or below.numel() == 0:
        raise ScoreError(f"AUC needs tokens on and off the object; got {above.numel()} and {below.numel()}.")
    ordered = below.sort().values
    lower = torch.searchsorted(ordered, above, right=False)
    not_higher = torch.searchsorted(ordered, above, right=True)
    return float((lower + not_higher).double().mean() / (2 * below.numel()))


def tokens_to_hit(scores: Tensor, on: Tensor) -> int:
    """Fewest tokens to keep, from the top of this ranking, so that at least one is on the object; 1..N.

    scores: (N,), ranked descending, ties by lower index. on: (N,) bool. Raises ScoreError if no token is on it.
    """
    if not bool(on.any()):
        raise ScoreError("No token is on the object, so none can be hit.")
    order = scores.sort(descending=True, stable=True).indices
    return int(on[order].int().argmax()) + 1


def tokens_to_hit_mixed(t2i: Tensor, saliency: Tensor, on: Tensor) -> int:
    """The smallest budget at which at least one token that AdaFV keeps is on the object.

    t2i, saliency: (N,), ≥ 0. The smallest budget K whose best split (floor 0) reaches down to the first such token of
    either ranking.
    """
    path = budget_path(t2i, saliency)
    hit = (path.k_text >= tokens_to_hit(t2i, on)) | (path.k_visual >= tokens_to_hit(saliency, on))
    return int(hit.int().argmax())


def similarity(scores: TokenScores) -> Tensor:
    """(N,) float32: T2I similarity before temperature and softmax, the largest cosine with any counted word."""
    text_tokens, features = scores.embeddings("Similarity")
    words = functional.normalize(text_tokens[scores.counted].float(), dim=-1)
    return (words @ functional.normalize(features.float(), dim=-1).T).amax(dim=0)


def histogram(cosines: Tensor) -> tuple[int, ...]:
    """BINS counts of values in −1..1, in equal bins; the last bin includes 1."""
    places = ((cosines.double() + 1) * (BINS / 2)).long().clamp(0, BINS - 1)
    return tuple(torch.bincount(places, minlength=BINS).tolist())


@dataclass(frozen=True)
class Alignment:
    """The measurements for one question.

    n, n_on: visual tokens, and those on the named objects. auc_t2i, auc_saliency: figure 2. on, off: figure 3, BINS
    counts of T2I similarity. hit_t2i, hit_saliency, hit_adafv: figure 4, tokens to keep.
    """

    n: int
    n_on: int
    auc_t2i: float
    auc_saliency: float
    hit_t2i: int
    hit_saliency: int
    hit_adafv: int
    on: tuple[int, ...]
    off: tuple[int, ...]


def measure(scores: TokenScores, on: Tensor, off: Tensor) -> Alignment | None:
    """Measure one scored question; None if no token is on the named objects, or none is off them.

    on, off: (N,) bool, see `object_tokens`. The AUC ranks tokens as the method does, by T2I attention a_i.
    """
    if not bool(on.any()) or not bool(off.any()):
        return None
    t2i, saliency, cosines = (one.detach().cpu() for one in (scores.t2i, scores.saliency, similarity(scores)))
    return Alignment(
        n=scores.size,
        n_on=int(on.sum()),
        auc_t2i=auc(t2i, on, off),
        auc_saliency=auc(saliency, on, off),
        hit_t2i=tokens_to_hit(t2i, on),
        hit_saliency=tokens_to_hit(saliency, on),
        hit_adafv=tokens_to_hit_mixed(t2i, saliency, on),
        on=histogram(cosines[on]),
        off=histogram(cosines[off]),
    )
