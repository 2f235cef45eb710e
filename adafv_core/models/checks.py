"""Checks of a caller's input before a model runs: prompts, earlier turns, images, and the pairs of a batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from adafv_core.errors import ImageError, InputError, PromptError
from adafv_core.types import VisualTokens

_ONE_IMAGE = (str, bytes, Path, Image.Image, VisualTokens)


def check_prompt(prompt: object) -> str:
    """Return the prompt. Raises PromptError unless it is text with a visible character that UTF-8 can encode."""
    if not isinstance(prompt, str) or not prompt.strip():
        raise PromptError(f"Expected a question of at least one visible character, got {prompt!r}.")
    _check_whole("The question", prompt)
    return prompt


def check_history(history: object) -> tuple[tuple[str, str], ...]:
    """Return the earlier (question, answer) turns as tuples.

    Raises InputError unless each turn is a pair of strings, PromptError for a string that UTF-8 cannot encode.
    """
    if isinstance(history, str) or not isinstance(history, Sequence):
        came = f"{history!r:.60}" if isinstance(history, str) else type(history).__name__
        raise InputError(f"history must be a list of (question, answer) pairs, empty where there are none; got {came}.")
    turns = []
    for turn in history:
        if not isinstance(turn, list | tuple) or [isinstance(text, str) for text in turn] != [True, True]:
            raise InputError(f"history must hold (question, answer) pairs of two texts each; got {turn!r:.60}.")
        for text in turn:
            _check_whole("A turn of history", text)
        turns.append((turn[0], turn[1]))
    return tuple(turns)


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


def _check_whole(what: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = text[error.start]
        raise PromptError(
            f"{what} holds half a character, {half!a} at index {error.start}, which no tokenizer reads; take it out."
        ) from None
