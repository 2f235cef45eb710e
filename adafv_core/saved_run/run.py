"""A saved run as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adafv_core.errors import ImageError
from adafv_core.types import Selection, TokenScores

_FIRST_BYTES = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"RIFF": "webp"}


@dataclass(frozen=True)
class SavedImage:
    """A further image of a question: its scores, selection and picture, as `SavedRun` has those of the first."""

    scores: TokenScores
    selection: Selection
    picture: bytes

    @property
    def picture_type(self) -> str:
        """png, jpeg or webp, by the first bytes of the picture. Raises ImageError for anything else."""
        return picture_type(self.picture)


@dataclass(frozen=True)
class SavedRun:
    """One question about one image or several, as it was saved.

    model, revision, versions: what answered it. scores: `t2i` is what the method ranked by, with the temperature and
    text tokens of its options; the visual tokens have saliency and grid, but no features. selection: at keep_ratio,
    with force_keep and force_drop (token indices). options: of the method; position ids are in
    `selection.positions`. answers: "pruned" and "full", each None or a mapping with its text, its state ("done", or
    "stopped" if ended early) and its cost; "same" and "kl_nats" compare them if both are complete. "pruned" was made
    with exactly `selection`; it is None if the slider was moved after the answer. picture: the bytes of a PNG file or,
    if that would be too large for the page, of the JPEG, PNG or WebP file that was asked about. max_new_tokens: the
    answer's length limit, None if the file does not contain it. more: further images of the question. share: as in a
    `Request`; with "all", the scores of each image are its part of those over the tokens of all images, and
    `engine.several_images.rejoined_scores` puts them together again.
    """

    model: str
    revision: str | None
    versions: Mapping[str, str]
    prompt: str
    method: str
    options: Mapping[str, Any]
    keep_ratio: float
    force_keep: tuple[int, ...]
    force_drop: tuple[int, ...]
    scores: TokenScores
    selection: Selection
    answers: Mapping[str, Any]
    picture: bytes
    max_new_tokens: int | None = None
    more: tuple[SavedImage, ...] = ()
    share: str = "image"

    @property
    def images(self) -> tuple[SavedImage, ...]:
        """All images of the question, in order."""
        return (SavedImage(self.scores, self.selection, self.picture), *self.more)

    @property
    def picture_type(self) -> str:
        """png, jpeg or webp, by the first bytes of the picture. Raises ImageError for anything else."""
        return picture_type(self.picture)


def picture_type(picture: bytes) -> str:
    """png, jpeg or webp, by the first bytes of a file. Raises ImageError for anything else."""
    for start, kind in _FIRST_BYTES.items():
        if picture.startswith(start):
            return kind
    raise ImageError("The picture of a run must be a PNG, JPEG or WebP file.")
