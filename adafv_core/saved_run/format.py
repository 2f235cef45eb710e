"""The file format of saved runs, declared once: msgspec reads and writes JSON according to these classes.

msgspec keeps the library light: 0.2 MB without dependencies, compared with 2.5 MB in four packages for pydantic. It
also decodes directly into these classes and stops at the first invalid value, which matters for untrusted files.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import torch
from msgspec import Meta, Raw, Struct

from adafv_core.types import Why

VERSION: Final = 2
"""The version written. Version 1 (AdaFV 0.1) lacks the fields that have defaults below, and can still be read."""
MOST_BYTES = 64_000_000
"""Maximum file size: a picture of 30 MB in base64, and MOST_VALUES scores of 12 characters."""
MOST_VALUES = 2_000_000
"""Maximum number of JSON values, nearly all of them scores: 690 words × 2,880 tokens. A typical run has 10,000."""
MOST_TOKENS = 50_000
MOST_WORDS = 4_000
MOST_CHARACTERS = 100_000
MOST_IMAGES = 64

Score = Annotated[float, Meta(ge=0, le=torch.finfo(torch.float32).max)]
Amount = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Positive = Annotated[int, Meta(ge=1, le=100_000)]
Token = Annotated[int, Meta(ge=0, le=MOST_TOKENS)]
Text = Annotated[str, Meta(max_length=MOST_CHARACTERS)]


class Head(Struct):
    """The kind of file: read first, without building anything else."""

    format: Raw = Raw(b"null")
    version: Raw = Raw(b"null")


class CropRecord(Struct):
    """`types.Crop`; box in pixels of the original image."""

    name: Text
    rows: Positive
    cols: Positive
    box: tuple[float, float, float, float]
    offset: Token


class GridRecord(Struct):
    """`types.TokenGrid`, and `VisualTokens.encoder_crop` of its N tokens (null if unknown)."""

    image_size: tuple[Positive, Positive]
    crops: list[CropRecord]
    encoder_crop: list[Token] | None = None


class WordRecord(Struct):
    """One text token: whether it counts for t2i, and its own attention to each of the N visual tokens."""

    text: Text
    counted: bool
    t2i: list[Score]


class ScoresRecord(Struct):
    """`types.TokenScores` as the method ranks by them; float32 with as few digits as read back equal.

    temperature, counting: null in version 1, where they are among the options of the method.
    """

    n_visual: Annotated[int, Meta(ge=1, le=MOST_TOKENS)]
    t2i: list[Score]
    saliency: list[Score]
    words: Annotated[list[WordRecord], Meta(min_length=1, max_length=MOST_WORDS)]
    temperature: float | None = None
    counting: Literal["question", "all"] | None = None
    saliency_source: Text | None = None
    image_key: Text = ""
    model_key: Text = ""


class SelectionRecord(Struct):
    """`types.Selection`. kept: the indices, ascending; not empty, except for an image that shares its budget with
    others. why: a value of `types.Why` for each of the N tokens.
    """

    budget: Token
    k_text: Token
    k_visual: Token
    kept: list[Token]
    why: list[Annotated[int, Meta(ge=int(min(Why)), le=int(max(Why)))]]
    mixed: list[Score]


class AnswerRecord(Struct):
    """`types.Answer` without tensors. state: "stopped" if the user ended it early."""

    state: Literal["done", "stopped"]
    text: Text
    error: Text
    n_visual: Count
    n_kept: Count
    n_newline: Count
    n_text: Count
    encode_s: Amount
    select_s: Amount
    prefill_s: Amount
    ttft_s: Amount
    decode_s: Amount
    tokens_per_s: Amount
    prefill_flops: Count
    vision_flops: Count
    kv_cache_bytes: Count
    finished: bool


class AnswersRecord(Struct):
    """The answers with the kept tokens and with all. same, kl_nats: their comparison, null unless both are complete."""

    pruned: AnswerRecord | None
    full: AnswerRecord | None
    same: bool | None
    kl_nats: float | None


class ImageRecord(Struct):
    """A further image of the question, as `RunRecord` has the first."""

    grid: GridRecord
    scores: ScoresRecord
    selection: SelectionRecord
    picture: str


class RunRecord(Struct):
    """The whole file. picture: a data URL of a PNG, JPEG or WebP file. share: as in a Request."""

    format: Literal["adafv-run"]
    version: Literal[1, 2]
    model: Text
    revision: Text | None
    versions: dict[Text, Text]
    prompt: Text
    method: Text
    options: dict[Text, Text | int | float | bool]
    keep_ratio: float
    force_keep: list[Token]
    force_drop: list[Token]
    grid: GridRecord
    scores: ScoresRecord
    selection: SelectionRecord
    answers: AnswersRecord
    picture: str
    max_new_tokens: Positive | None = None
    more_images: Annotated[list[ImageRecord], Meta(max_length=MOST_IMAGES)] = []
    share: Literal["image", "all"] = "image"
