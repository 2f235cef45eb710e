"""Runs one configuration of a study on a model: questions are scored once, then each gets a selection and an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from PIL import Image

from adafv_core.checks import budget_from_keep_ratio
from adafv_core.engine.backend import Backend
from adafv_core.engine.gate import Stop, stop_signal
from adafv_core.errors import OutOfMemoryError, StoppedError
from adafv_core.methods import METHODS
from adafv_core.study.data.base import DataSet, Item
from adafv_core.study.measure.bounds import BLIND, ORACLE, blind, oracle
from adafv_core.study.measure.object_tokens import ObjectTokens, object_tokens
from adafv_core.study.run.configs import Config
from adafv_core.types import Answer, Selection, TokenScores, VisualTokens

_SEED_STEP = 1_000_003
"""More questions than any study has, so that no two runs of `random` share a seed."""


@dataclass(frozen=True)
class InferenceSettings:
    """How questions are asked. batch_size: questions per batch; suffix: text appended to each question."""

    batch_size: int = 64
    max_new_tokens: int = 8
    suffix: str = ""


@dataclass(frozen=True)
class ScoredItem:
    """A scored question. q: its number. objects: tokens of the picture's objects, None if unknown."""

    q: int
    item: Item
    scores: TokenScores
    objects: ObjectTokens | None


Omit = Callable[[str, Sequence[int], Exception], None]
"""Called with a picture's key, the numbers of the questions about it that cannot be asked, and why."""


def score_items(
    engine: Backend,
    data: DataSet,
    items: Mapping[int, Item],
    suffix: str,
    omit: Omit | None = None,
    stop: Stop = None,
) -> dict[int, ScoredItem]:
    """Encode each picture once and score every question about it.

    items: by number. omit: called for each picture or question that fails, which is then missing from the result;
    without it the error is raised. stop: while set, waiting for the model ends with StoppedError.
    """
    by_image: dict[str, list[int]] = {}
    for q, item in items.items():
        by_image.setdefault(item.image, []).append(q)
    pictures: dict[str, Image.Image] = {}
    for image, numbers in by_image.items():
        with _omitting(omit, image, numbers):
            pictures[image] = data.picture(image)
    scored: dict[int, ScoredItem] = {}
    for image, visual in _encode(engine, pictures, by_image, omit, stop).items():
        with _omitting(omit, image, by_image[image]):
            objects = object_tokens(data, image, visual.grid) if data.has_objects else None
            for q in by_image[image]:
                with _omitting(omit, image, [q]):
                    scores = engine.score(visual, items[q].question + suffix, stop=stop)
                    scored[q] = ScoredItem(q, items[q], scores, objects)
    return {q: scored[q] for q in items if q in scored}


def answer_items(
    engine: Backend,
    config: Config,
    keep: float | None,
    asked: Sequence[ScoredItem],
    settings: InferenceSettings,
    stop: Stop = None,
    drafts: Sequence[Sequence[int] | None] | None = None,
) -> list[Answer]:
    """The model's greedy answers to scored questions, in order. drafts: see `Backend.answer_batch`.

    Raises InputError if the method cannot serve this budget, and StoppedError once `stop` is set.
    """
    chosen = [select_tokens(engine, config, keep, one) for one in asked]
    arguments: dict[str, Any] = {"selections": chosen, "drafts": drafts}
    if chosen and chosen[0] is None:
        arguments = {"keep_ratio": keep, "method": config.method, "drafts": drafts, **config.options}
    return _batches(engine, asked, settings, arguments, stop)


def select_tokens(engine: Backend, config: Config, keep: float | None, one: ScoredItem) -> Selection | None:
    """The tokens that a configuration keeps; None for a method that selects inside the LLM.

    `random` uses a different seed for each question, so its option `seed` stands for a whole run of them.
    """
    visual = one.scores.visual
    if config.method in (BLIND, ORACLE) and one.objects is None:
        raise ValueError(f"{config.method} needs a data set with objects")
    if one.objects is not None and config.method == BLIND:
        return blind(visual, one.objects)
    if one.objects is not None and keep is not None and config.method == ORACLE:
        return oracle(visual, one.objects, one.item.needed, budget_from_keep_ratio(keep, visual.size))
    if METHODS[config.method].inside_llm:
        return None
    options = dict(config.options)
    if config.method == "random":
        options["seed"] = one.q + _SEED_STEP * int(options.get("seed", 0))
    return engine.select(one.scores, keep_ratio=keep, method=config.method, **options)


def _encode(
    engine: Backend,
    pictures: Mapping[str, Image.Image],
    by_image: Mapping[str, list[int]],
    omit: Omit | None,
    stop: Stop,
) -> dict[str, VisualTokens]:
    """Encode all pictures together, or one by one if that fails, so that one bad picture does not affect the others."""
    try:
        return dict(zip(pictures, engine.encode_many(list(pictures.values()), stop=stop), strict=True))
    except StoppedError:
        raise
    except Exception:
        if omit is None:
            raise
    visuals = {}
    for image, picture in pictures.items():
        with _omitting(omit, image, by_image[image]):
            visuals[image] = engine.encode_many([picture], stop=stop)[0]
    return visuals


@contextmanager
def _omitting(omit: Omit | None, image: str, numbers: Sequence[int]) -> Iterator[None]:
    try:
        yield
    except StoppedError:
        raise
    except Exception as error:  # no error of a decoder or model on one picture may end the study
        if omit is None:
            raise
        omit(image, numbers, error)


def _batches(
    engine: Backend,
    asked: Sequence[ScoredItem],
    settings: InferenceSettings,
    arguments: dict[str, Any],
    stop: Stop,
) -> list[Answer]:
    """The answers, halving the batch size whenever the device runs out of memory."""
    questions = [(one.scores.visual, one.scores.prompt) for one in asked]
    batch_size = min(settings.batch_size, max(1, len(questions)))
    while True:
        try:
            answers = engine.answer_batch(
                questions, max_new_tokens=settings.max_new_tokens, batch_size=batch_size, stop=stop, **arguments
            )
        except OutOfMemoryError:
            if batch_size == 1:
                raise
            batch_size //= 2
            continue
        if stop_signal(stop)():  # the running batch was cut short, so its answers are not the model's
            raise StoppedError("The study was stopped; run it again to continue.")
        return answers
