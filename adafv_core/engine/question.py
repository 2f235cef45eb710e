"""One question of a run: its images, its prompt as token ids, and what was scored or selected for it before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from adafv_core.errors import ImageError, InputError
from adafv_core.models.prompts import Prompter, Turn
from adafv_core.types import Prompt, Selection, TokenScores, VisualTokens

_ONE_IMAGE = (str, bytes, Path, Image.Image, VisualTokens)


@dataclass(frozen=True)
class Question:
    """images: pictures or VisualTokens, as they stand in the prompt. tokenized: `prompt` and `history` as token ids.
    scores, selections: one per image, or none where that is still to be done.
    """

    images: tuple[object, ...]
    prompt: str
    history: Sequence[Turn]
    tokenized: Prompt
    scores: tuple[TokenScores, ...] = ()
    selections: tuple[Selection, ...] = ()


def question_of(
    prompter: Prompter,
    image: object,
    prompt: str | None,
    history: Sequence[Turn] = (),
    selections: tuple[Selection, ...] = (),
) -> Question:
    """A question from the arguments of a call.

    image: a picture, VisualTokens or TokenScores, or a list of them. Raises InputError for scores that are not of this
    question and of all its images, and for another number of selections than of images; PromptError for a prompt that
    cannot be placed.
    """
    images = images_of(image)
    if selections and len(selections) != len(images):
        raise InputError(f"Expected one selection an image ({len(images)}), got {len(selections)}.")
    scores = tuple(one for one in images if isinstance(one, TokenScores))
    if not scores:
        asked = "" if prompt is None else prompt
        return Question(images, asked, history, prompter(asked, history, len(images)), (), selections)
    if len(scores) < len(images):
        raise InputError("Pass the scores of every image, or pictures and VisualTokens alone, not both in one list.")
    first = scores[0]
    others = [(one.prompt, one.history) for one in scores if (one.prompt, one.history) != (first.prompt, first.history)]
    if others or prompt not in (None, first.prompt) or (history and tuple(history) != first.history):
        raise InputError("These scores are of another question; leave prompt and history out, or score this one.")
    tokenized = first.tokenized or prompter(first.prompt, first.history, len(images))
    if tokenized.n_images != len(images):
        raise InputError(
            f"These scores were made with {tokenized.n_images} images in the prompt; got those of {len(images)}: pass "
            "what `score` or `score_many` returned."
        )
    return Question(tuple(one.visual for one in scores), first.prompt, first.history, tokenized, scores, selections)


def images_of(image: object) -> tuple[object, ...]:
    """The images of one prompt: those of a tuple or list, or the one image. Raises ImageError for an empty list."""
    if not isinstance(image, tuple | list):
        return (image,)
    if not image:
        raise ImageError("No image was given; expected at least one.")
    return tuple(image)


def check_images(images: object) -> list[object]:
    """Return several images as a list. Raises ImageError for a single image, and for anything that is no iterable."""
    alone = isinstance(images, _ONE_IMAGE) or (isinstance(images, np.ndarray) and images.ndim < 4)
    if alone or not isinstance(images, Iterable):
        raise ImageError(f"encode_many takes a list of images, `encode` one image alone; got {type(images).__name__}.")
    return list(images)


def check_questions(questions: object) -> list[tuple[object, str]]:
    """Return the (image, prompt) pairs of a batch as a list. Raises InputError unless every item is a pair.

    Images and prompts themselves are checked where they are read.
    """
    if isinstance(questions, str) or not isinstance(questions, Iterable):
        raise InputError(f"answer_batch takes a list of (image, prompt) pairs; got {type(questions).__name__}.")
    pairs = list(questions)
    for number, pair in enumerate(pairs):
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            came = f"{type(pair).__name__} of {len(pair)}" if isinstance(pair, list | tuple) else type(pair).__name__
            raise InputError(f"answer_batch takes (image, prompt) pairs; got {came} as question {number}.")
    return [(image, prompt) for image, prompt in pairs]
