"""The values that flow through the library, in one direction: VisualTokens → TokenScores → Selection → Answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from adafv_core.errors import InputError, ScoreError

NEWLINES = ("drop", "rows")
"""Which newline tokens of an any-resolution model to keep: none, or those that end a row with a kept token."""
POSITIONS = ("contiguous", "original")
"""Position ids of the kept tokens: renumbered without gaps, or as in the unpruned prompt."""
SHARES = ("image", "all")
"""What one budget covers if a prompt has several images: each image, or all of them together."""
CLS_ATTENTION, RECEIVED_ATTENTION = "[CLS] attention", "attention received"
BESIDE_OTHERS = " beside others"
"""Ends the key of an image that was encoded without the tiles it would have alone (`Adapter.TILED_ALONE`)."""

_MISSING = {
    "features": "projected visual tokens",
    "cls_attention": "saliency by encoder crop",
    "vision_features": "vision features before the projector",
    "vision_keys": "vision encoder's keys",
}


class Why(IntEnum):
    """Why a visual token was kept (the values of `Selection.why`)."""

    DROPPED = 0
    TEXT = 1
    """Only among the first k_text tokens of the T2I ranking."""
    VISION = 2
    """Only among the first k_visual tokens of the saliency ranking."""
    BOTH = 3
    """In both top-k sets; counts once against the budget."""
    FLOOR = 4
    """Kept only because `floor` guarantees its side a share of the budget."""
    FORCED = 5
    """Named in `force_keep`."""
    METHOD = 6
    """Kept by a rule that has no text or vision side (random, full, divprune, …)."""


@dataclass(frozen=True)
class Crop:
    """One picture that the vision encoder saw, with padding removed.

    rows, cols: number of visual tokens down and across. box: (left, top, right, bottom) in pixels of the original
    image, divided into exactly rows × cols equal cells. offset: index of its first token among all N.
    """

    name: str
    rows: int
    cols: int
    box: tuple[float, float, float, float]
    offset: int

    @property
    def size(self) -> int:
        return self.rows * self.cols


@dataclass(frozen=True)
class TokenGrid:
    """Where each of the N visual tokens lies: crops in LLM order, row by row within each crop.

    image_size: (width, height) of the original image in pixels. Any-resolution models have two crops: "base" (the
    whole image) and "tiles" (the stitched, un-padded tile grid).
    """

    image_size: tuple[int, int]
    crops: tuple[Crop, ...]

    @property
    def size(self) -> int:
        return sum(crop.size for crop in self.crops)


@dataclass(frozen=True)
class VisualTokens:
    """One encoded image: the projector's output for the LLM, with saliency and token positions.

    features: (N, D) projected visual tokens in LLM order, without newline tokens.
    saliency: (N,) float32, c_i of the paper, section 2, averaged over the patches merged into each token.
    cls_attention: (crops, P) float32, the same quantity before un-padding and stitching, in the encoder's crop order.
    vision_features: (N, Dv), the projector's input: feature-layer output, the patches of each token concatenated.
    vision_keys: (N, Dk), keys of the layer that saliency is read from, averaged over heads and over the patches of
    each token (VisionZip).
    newline_after: (R,) int64, ascending, the visual tokens that a newline token follows; newline: (D,), its embedding.
    Both None for models without newline tokens.
    image_key: content hash of the picture; model_key: key of the weights that encoded it (`weights_key`); both empty
    unless an engine encoded the image.
    encoder_crop: (N,) int64, the encoder crop (row of cls_attention) that each visual token came from; None
    where every crop of the grid is one encoder crop.
    layer_features: (S, M, D) what LLM layers 0 … S−1 add at the image tokens (DeepStack); None for most families.
    saliency_source: what `saliency` measures, worded for a caption: "[CLS] attention", or "attention received" (mean
    over all queries) if the encoder has no [CLS] token.

    Tokens read from a saved run have only saliency, grid and encoder_crop; all other tensors are None. Use `required`
    to read a field that may be None.
    """

    features: Tensor | None
    saliency: Tensor
    grid: TokenGrid
    cls_attention: Tensor | None
    vision_features: Tensor | None = None
    vision_keys: Tensor | None = None
    newline_after: Tensor | None = None
    newline: Tensor | None = None
    image_key: str = ""
    encoder_crop: Tensor | None = None
    saliency_source: str = CLS_ATTENTION
    model_key: str = ""
    layer_features: Tensor | None = None

    @property
    def size(self) -> int:
        """N, the number of scored visual tokens."""
        return self.saliency.shape[0]

    @property
    def picture_key(self) -> str:
        """`image_key` of the picture itself, whether it was encoded alone or beside others."""
        return self.image_key.removesuffix(BESIDE_OTHERS)

    @property
    def stock_size(self) -> int:
        """M = N + R, the number of image tokens in an unpruned prompt, newline tokens included."""
        return self.saliency.shape[0] + (0 if self.newline_after is None else self.newline_after.numel())

    @property
    def stock_features(self) -> Tensor:
        """(M, D) exactly what stock transformers would put in place of the image tokens, newlines included. Not kept:
        with newline tokens each reading makes it anew. Raises InputError if there are no features.
        """
        return self.stock_features_at(torch.arange(self.stock_size))

    def stock_features_at(self, places: Tensor) -> Tensor:
        """Rows of `stock_features`, of which only these are made. places: (K,) int64, ascending, of 0 … M − 1."""
        features = self.required("features", "The model")
        places = places.to(features.device)
        if self.newline_after is None or self.newline is None:
            return features if places.numel() == self.size else features[places]
        newlines = self.newline_after.to(places.device)
        newlines = newlines + torch.arange(1, newlines.numel() + 1, device=places.device)
        before = torch.searchsorted(newlines, places)
        found = features[(places - before).clamp(max=self.size - 1)]
        return torch.where(torch.isin(places, newlines)[:, None], self.newline.to(features), found)

    @cached_property
    def inverse_norms(self) -> Tensor:
        """(N,) float32, 1 / ‖features‖, for cosines: worked out, and the features checked, once per image.

        Raises InputError if there are no features, ScoreError if some are NaN or infinite.
        """
        features = self.required("features", "Scoring")
        check_finite("visual_tokens", features)
        return inverse_norms(features)

    def required(self, name: str, needed_by: str) -> Tensor:
        """The tensor in field `name`. Raises InputError, which names `needed_by`, if it is None."""
        value: Tensor | None = getattr(self, name)
        if value is not None:
            return value
        if self.features is None:
            reason = "a saved run does not hold: score the image again with the model"
        else:
            reason = "this model's adapter does not provide, nor does a budget shared by images: choose another method"
        raise InputError(f"{needed_by} needs the {_MISSING[name]}, which {reason}.")


def check_finite(name: str, tokens: Tensor) -> None:
    """Raise ScoreError if a value of (…, D) tokens is NaN or infinite."""
    # A sum is finite where all values are; only one that is not, or overflows, needs a look at every value.
    if not bool(tokens.detach().sum(dtype=torch.float32).isfinite()) and not bool(torch.isfinite(tokens).all()):
        raise ScoreError(f"{name} must be finite; some values are NaN or infinite.")


def inverse_norms(tokens: Tensor) -> Tensor:
    """(…, N) float32, 1 / ‖token‖ of (…, N, D) tokens of any floating dtype; large and finite for all-zero tokens."""
    norms: Tensor = torch.linalg.vector_norm(tokens.detach(), dim=-1, dtype=torch.float32)
    return norms.clamp_(min=1e-12).reciprocal_()


@dataclass(frozen=True)
class Prompt:
    """One tokenized prompt in which each image is still a single placeholder token.

    ids: all token ids. image_at: index of the first placeholder. n_images: their number. text_ids: the T text tokens
    after the first image. words: the same, decoded for display. counted: T flags, whether each token belongs to the
    current question (not the template or earlier turns). slots: for each of the T tokens, the index of the text it
    comes from (question, answer, question, …), None for the template.
    """

    ids: tuple[int, ...]
    image_at: int
    n_images: int
    text_ids: tuple[int, ...]
    words: tuple[str, ...]
    counted: tuple[bool, ...]
    slots: tuple[int | None, ...]


@dataclass(frozen=True)
class TokenScores:
    """Scores of N visual tokens for one prompt.

    t2i: (N,) float32, a_i. saliency: (N,) float32, c_i. words: the T text tokens after the image, as text.
    word_t2i: (T, N) float32, A[j, i], one softmax row per text token. counted: (T,) bool, whether each word enters the
    maximum that defines t2i (by default, template words do not).
    text_tokens: (T, D), their input embeddings; None for scores read from a saved run. visual: the tokens scored.
    temperature: γ of the softmax behind t2i and word_t2i. history: earlier (question, answer) turns of the prompt.
    counting: "question" if `counted` marks the user's own words, "all" if every text token counts
    (`scoring.rescored`).
    tokenized: the prompt's token ids, so that answering does not tokenize it again; None if not available.
    encode_s, score_s: seconds spent on encoding (0 if the image was cached) and on scoring.
    """

    t2i: Tensor
    saliency: Tensor
    words: tuple[str, ...]
    word_t2i: Tensor
    counted: Tensor
    text_tokens: Tensor | None
    visual: VisualTokens
    prompt: str
    temperature: float = 100.0
    history: tuple[tuple[str, str], ...] = ()
    counting: str = "question"
    tokenized: Prompt | None = None
    encode_s: float = 0.0
    score_s: float = 0.0

    @property
    def size(self) -> int:
        """N, the number of scored visual tokens."""
        return self.t2i.shape[0]

    def embeddings(self, needed_by: str) -> tuple[Tensor, Tensor]:
        """(T, D) text tokens and (N, D) visual tokens. Raises InputError naming `needed_by` if one is None."""
        features = self.visual.required("features", needed_by)
        if self.text_tokens is None:
            raise InputError(f"{needed_by} needs the embeddings of the text, which these scores lack: score again.")
        return self.text_tokens, features


@dataclass(frozen=True)
class Selection:
    """Which of N visual tokens stay.

    indices: (K',) int64 ascending. kept: (N,) bool. mixed: (N,) float32, m_i ≥ 1 exactly where kept
    (for methods without a mixed score: the ranking they used, scaled the same way).
    why: (N,) int8, values of `Why`. k_text, k_visual: how many tokens from the top of each ranking were taken (0 if
    the method has no such side). budget: the nominal K; `size` is the number of distinct tokens actually kept.
    features: (K', D) replacements for the kept tokens if the method merges (VisionZip), else None.
    report: additional values that the method reports (adav_authors: `picked`, the length of its list with duplicates).
    image_key, model_key: the image and the model it was made on, as in VisualTokens; empty if unknown.
    positions: which position ids the engine gives the kept tokens (one of `POSITIONS`), if the request set it.
    ranking: (N,) float32 ≥ 0, what the method ranked by; threshold: () float32, the lowest value it accepted. Then
    mixed is ranking / threshold, clamped to ≥ 1 where kept and below 1 elsewhere. Both None if no single ranking
    decides.
    """

    indices: Tensor
    kept: Tensor
    mixed: Tensor
    why: Tensor
    k_text: int
    k_visual: int
    budget: int
    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    features: Tensor | None = None
    report: Mapping[str, Any] = field(default_factory=dict)
    image_key: str = ""
    model_key: str = ""
    positions: str | None = None
    ranking: Tensor | None = None
    threshold: Tensor | None = None

    @property
    def size(self) -> int:
        """The number of distinct visual tokens kept."""
        return self.indices.shape[0]


@dataclass(frozen=True)
class PlacedImage:
    """An image in a prompt.

    places: (M,) int64 ascending, the positions of its image tokens in the prompt, newline tokens included; template
    text may lie between them. selection: None keeps everything.
    """

    places: Tensor
    visual: VisualTokens
    selection: Selection | None = None


@dataclass(frozen=True)
class Row:
    """One prompt of a batch, without padding. ids: (L,) int64, every image with all its M image tokens."""

    ids: Tensor
    images: tuple[PlacedImage, ...]

    def selected(self, selections: Sequence[Selection]) -> Row:
        """The same prompt with a selection for each image."""
        images = zip(self.images, selections, strict=True)
        return replace(self, images=tuple(replace(image, selection=selection) for image, selection in images))

    def whole(self) -> Row:
        """The same prompt with nothing selected."""
        return replace(self, images=tuple(replace(image, selection=None) for image in self.images))

    @property
    def n_text(self) -> int:
        """The number of tokens that are not image tokens."""
        return self.ids.numel() - sum(image.places.numel() for image in self.images)


@dataclass(frozen=True)
class Answer:
    """A model's answer and its measured cost.

    text: the whole answer, or the text so far while streaming. token_ids: the new tokens. selections: the kept tokens
    of each image; selection: those of the first.
    n_visual: N; n_kept: visual tokens passed to the LLM; n_newline: newline tokens passed with them, each summed over
    the images of the prompt; n_text: text tokens of the prompt, template included.
    encode_s: seconds of encoding, 0 if the image was cached; select_s: of scoring and selecting (about 0 for a method
    inside the LLM, which selects during the prefill); prefill_s: from there to the first new token; ttft_s: the sum of
    these three, not counting the wait for earlier jobs; decode_s: from the first to the latest new token.
    tokens_per_s: decode throughput: tokens after the first per second of `decode_s`; 0 before the second token.
    finished: whether the answer ended by itself or reached its length limit; false in a snapshot and if stopped early.
    prefill_flops, vision_flops: a multiply-add counts as two. kv_cache_bytes: size after the prefill.
    first_logprobs: (V,) float32 log-probabilities of the first new token, for the KL divergence from another run.
    draft_logprob: log-probability of a given answer in nats, see `answer_batch`; None if none was given.
    """

    text: str
    token_ids: tuple[int, ...]
    selection: Selection
    n_visual: int
    n_kept: int
    n_newline: int
    n_text: int
    encode_s: float
    select_s: float
    prefill_s: float
    ttft_s: float
    decode_s: float
    tokens_per_s: float
    prefill_flops: int
    vision_flops: int
    kv_cache_bytes: int
    finished: bool
    first_logprobs: Tensor | None = None
    selections: tuple[Selection, ...] = ()
    draft_logprob: float | None = None
