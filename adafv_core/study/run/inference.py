"""Puts questions to a model for one row of a study: scores once, then a selection and an answer each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adafv_core.checks import budget_from_keep_ratio
from adafv_core.engine import Engine
from adafv_core.errors import OutOfMemoryError
from adafv_core.methods import METHODS
from adafv_core.study.data.base import DataSet, Item, images_of
from adafv_core.study.measure.bounds import blind, oracle
from adafv_core.study.measure.object_tokens import Places, places_of
from adafv_core.study.run.configs import BLIND, ORACLE, Row
from adafv_core.types import Answer, Selection, TokenScores


@dataclass(frozen=True)
class Settings:
    """How questions are asked. batch_size: questions at a time; suffix: text put behind each question."""

    batch_size: int = 64
    max_new_tokens: int = 8
    suffix: str = ""


@dataclass(frozen=True)
class Scored:
    """A scored question. q: its number. places: where the picture's objects lie, None where none are known."""

    q: int
    item: Item
    scores: TokenScores
    places: Places | None


def score_items(engine: Engine, data: DataSet, items: Mapping[int, Item], suffix: str) -> dict[int, Scored]:
    """Encode each picture once and score every question on it."""
    keys = images_of(list(items.values()))
    visuals = dict(zip(keys, engine.encode_many([data.picture(key) for key in keys]), strict=True))
    places = {key: places_of(data, key, one.grid) if data.has_objects else None for key, one in visuals.items()}
    return {
        q: Scored(q, item, engine.score(visuals[item.image], item.question + suffix), places[item.image])
        for q, item in items.items()
    }


def ask(engine: Engine, row: Row, keep: float | None, asked: Sequence[Scored], settings: Settings) -> list[Answer]:
    """The model's answers, greedy. Raises InputError where the row's method cannot serve this budget."""
    chosen = [choose(engine, row, keep, one) for one in asked]
    arguments: dict[str, Any] = {"selections": chosen}
    if chosen and chosen[0] is None:
        arguments = {"keep_ratio": keep, "method": row.method, **row.options}
    return _batches(engine, asked, settings.max_new_tokens, settings.batch_size, arguments)


def choose(engine: Engine, row: Row, keep: float | None, one: Scored) -> Selection | None:
    """What the row keeps; None for a method that chooses inside the LLM. `random` has a new seed for each question."""
    visual = one.scores.visual
    if row.method in (BLIND, ORACLE) and one.places is None:
        raise ValueError(f"{row.method} needs a data set with objects")
    if one.places is not None and row.method == BLIND:
        return blind(visual, one.places)
    if one.places is not None and keep is not None and row.method == ORACLE:
        return oracle(visual, one.places, one.item.needed, budget_from_keep_ratio(keep, visual.size))
    if METHODS[row.method].inside_llm:
        return None
    seed = {"seed": one.q} if row.method == "random" else {}
    return engine.select(one.scores, keep_ratio=keep, method=row.method, **{**seed, **row.options})


def _batches(
    engine: Engine, asked: Sequence[Scored], max_new_tokens: int, batch_size: int, arguments: dict[str, Any]
) -> list[Answer]:
    """Answers, with the batches halved as long as the device runs out of memory."""
    questions = [(one.scores.visual, one.scores.prompt) for one in asked]
    while True:
        try:
            return engine.answer_batch(questions, max_new_tokens=max_new_tokens, batch_size=batch_size, **arguments)
        except OutOfMemoryError:
            if batch_size == 1:
                raise
        batch_size //= 2
