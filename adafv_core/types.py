"""The values that travel through the library, one way: VisualTokens → TokenScores → Selection → Answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

from torch import Tensor

from adafv_core.errors import InputError

NEWLINES = ("drop", "rows")
"""Which newline tokens of an any-resolution model stay beside the kept tokens: none, or those of rows with one."""
POSITIONS = ("contiguous", "original")
"""Position ids of the kept tokens: without gaps, or those they have in the whole prompt."""
CLS_ATTENTION, RECEIVED_ATTENTION = "[CLS] attention", "attention received"

_MISSING = {
    "features": "projected visual tokens",
    "stock_features": "projected visual tokens",
    "cls_attention": "saliency by encoder crop",
    "vision_features": "vision features before the projector",
    "vision_keys": "vision encoder's keys",
}


class Why(IntEnum):
    """Why a visual token was kept (the values of `Selection.why`)."""

    DROPPED = 0
    TEXT = 1
    """In the first k_text of the T2I ranking only."""
    VISION = 2
    """In the first k_visual of the saliency ranking only."""
    BOTH = 3
    """In both heads, paid for once."""
    FLOOR = 4
    """In a head only because `floor` guarantees that side a share."""
    FORCED = 5
    """Named in `force_keep`."""
    METHOD = 6
    """Kept by a rule that has no text or vision side (random, full, divprune, …)."""


@dataclass(frozen=True)
class Crop:
    """One picture the vision encoder saw, after padding was cut away.

    rows, cols: visual tokens down and across. box: (left, top, right, bottom) in pixels of the original
    image, covered by exactly rows × cols equal cells. offset: index of its first token among all N.
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
    """Where each of the N visual tokens lies: crops in LLM order, each row by row.

    image_size is (width, height) of the original image in pixels. Any-resolution models have two
    crops: "base" (the whole image) and "tiles" (the stitched, un-padded tile grid).
    """

    image_size: tuple[int, int]
    crops: tuple[Crop, ...]

    @property
    def size(self) -> int:
        return sum(crop.size for crop in self.crops)


@dataclass(frozen=True)
class VisualTokens:
    """One image, encoded once: the projector's output for the LLM, with saliency and positions.

    features: (N, D) projected visual tokens in LLM order, without newline tokens.
    saliency: (N,) float32, c_i of the paper, section 2, averaged over the patches that one token stands for.
    cls_attention: (crops, P) float32, the same quantity before un-padding and stitching, in the encoder's crop order.
    vision_features: (N, Dv) what enters the projector: feature-layer output, the patches of one token side by side.
    vision_keys: (N, Dk) keys of the layer that saliency is read from, averaged over heads and over the patches of one
    token (VisionZip).
    newline_after: (R,) int64, ascending: a newline token follows this visual token; newline: (D,) its
    embedding. Both None for models without newline tokens.
    stock_features: (M, D), M = N + R, exactly what stock transformers would put in place of the image tokens
    (newlines included); an unpruned run uses it.
    image_key: content hash of the picture; model_key: key of the weights that encoded it (`weights_key`); both empty
    where an engine did not encode the image.
    encoder_crop: (N,) int64, the encoder crop (row of cls_attention) that each visual token came from; None
    where every crop of the grid is one encoder crop.
    layer_features: (S, M, D) what LLM layers 0 … S−1 add at the image tokens (DeepStack); None for most families.
    saliency_source: what `saliency` is, in words for a caption: "[CLS] attention", or "attention received" (mean over
    all queries) where the encoder has no [CLS] token.

    A saved run holds saliency, grid and encoder_crop only; everything else is None then. `required` reads what may be
    None.
    """

    features: Tensor | None
    saliency: Tensor
    grid: TokenGrid
    stock_features: Tensor | None
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
    def stock_size(self) -> int:
        """M = N + R, the number of image tokens in an unpruned prompt, newline tokens included."""
        return self.saliency.shape[0] + (0 if self.newline_after is None else self.newline_after.numel())

    def required(self, name: str, needed_by: str) -> Tensor:
        """The tensor in the field `name`. Raises InputError, naming `needed_by`, where it is None."""
        value: Tensor | None = getattr(self, name)
        if value is not None:
            return value
        if self.features is None:
            reason = "a saved run does not hold: score the image again with the model"
        else:
            reason = "this model's adapter does not provide: choose another method"
        raise InputError(f"{needed_by} needs the {_MISSING[name]}, which {reason}.")


@dataclass(frozen=True)
class Prompt:
    """One tokenized prompt in which the image is still a single placeholder token.

    ids: all token ids. image_at: index of the placeholder. words: the T text tokens after the image, in readable form.
    counted: T flags, whether the token belongs to the current question (template words and earlier turns do not).
    slots: T numbers, the user-written text a token belongs to (question, answer, question, … from 0), None for the
    template.
    """

    ids: tuple[int, ...]
    image_at: int
    words: tuple[str, ...]
    counted: tuple[bool, ...]
    slots: tuple[int | None, ...]

    @property
    def text_ids(self) -> tuple[int, ...]:
        """The T token ids after the image."""
        return self.ids[self.image_at + 1 :]


@dataclass(frozen=True)
class TokenScores:
    """Scores of N visual tokens for one prompt.

    t2i: (N,) float32, a_i. saliency: (N,) float32, c_i. words: the T text tokens after the image, as text.
    word_t2i: (T, N) float32, A[j, i], one softmax row per text token. counted: (T,) bool, whether the word
    enters the maximum that makes t2i (template words do not, by default).
    text_tokens: (T, D) their input embeddings, None for the scores of a saved run. visual: the tokens that were scored.
    temperature: γ of the softmax behind t2i and word_t2i. history: earlier (question, answer) turns of the prompt.
    counting: "question" if `counted` marks the user's own words, "all" if the scores were made by counting every text
    token (`scoring.rescored`).
    tokenized: the prompt's token ids, so that answering does not tokenize it again; None if it was not tokenized here.
    encode_s, score_s: seconds that encoding (0 if the image was cached) and scoring took.
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
        """(T, D) text tokens and (N, D) visual tokens. Raises InputError, naming `needed_by`, where they are None."""
        features = self.visual.required("features", needed_by)
        if self.text_tokens is None:
            raise InputError(f"{needed_by} needs the embeddings of the text, which these scores lack: score again.")
        return self.text_tokens, features


@dataclass(frozen=True)
class Selection:
    """Which of N visual tokens stay.

    indices: (K',) int64 ascending. kept: (N,) bool. mixed: (N,) float32, m_i ≥ 1 exactly where kept
    (for methods without a mixed score: the ranking they used, scaled the same way).
    why: (N,) int8, values of `Why`. k_text, k_visual: how far down each ranking the heads reach (0 where the
    method has no such side). budget: the nominal K; `size` is the distinct count that is really kept.
    features: (K', D) replacements for the kept tokens where the method merges (VisionZip), else None.
    report: further counts the method states (adav_authors: `picked`, the length of its list with doubles).
    image_key, model_key: the image and the model it was made on, as in VisualTokens; empty where they are not known.
    positions: the position ids the engine gives the kept tokens, where the request named them.
    ranking: (N,) float32 ≥ 0, what the method ranked by; threshold: () float32, the lowest value it accepted. Then
    mixed is ranking / threshold, held at ≥ 1 where kept and below 1 elsewhere. Both None where no one ranking decides.
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

    places: (M,) int64 ascending, where its image tokens stand in the prompt, newline tokens included; text of the
    template may stand between them. selection: None keeps everything.
    """

    places: Tensor
    visual: VisualTokens
    selection: Selection | None = None


@dataclass(frozen=True)
class Row:
    """One prompt of a batch, without padding. ids: (L,) int64, every image with all its M image tokens."""

    ids: Tensor
    images: tuple[PlacedImage, ...]

    def whole(self) -> Row:
        """The same prompt with nothing selected."""
        return replace(self, images=tuple(replace(image, selection=None) for image in self.images))

    @property
    def n_text(self) -> int:
        """How many of its tokens are no image tokens."""
        return self.ids.numel() - sum(image.places.numel() for image in self.images)


@dataclass(frozen=True)
class Answer:
    """A model's answer with what it cost, measured on this run.

    text: so far (streaming) or whole. token_ids: the new tokens. selection: what was kept.
    n_visual: N; n_kept: visual tokens given to the LLM; n_newline: newline tokens kept beside them; n_text: text
    tokens of the prompt, the template's included.
    encode_s: seconds of encoding, 0 where the image was cached; select_s: of scoring and selecting (about 0 for a
    method inside the LLM, which selects in the prefill); prefill_s: from there to the first new token; ttft_s: these
    three together, from when the run began, after the job before it; decode_s: from the first new token to the latest.
    tokens_per_s: new tokens after the first, a second of decode_s; 0 while there is none.
    finished: whether the answer ended by itself or at its longest; false in a snapshot and where it was stopped.
    prefill_flops, vision_flops: multiply and add counted as two. kv_cache_bytes: after the prefill.
    first_logprobs: (V,) float32 log-probabilities of the first new token, for KL against another run.
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
