"""Runs that were saved in the page, read back: scores, selection, settings, answers and the picture.

    run = adafv_core.read_run(Path("adafv-run.json").read_text())
    run.scores.t2i, run.selection.indices, run.answers["pruned"]["text"]
    adafv_core.get_method("adafv").select(run.scores, budget=10)    # another keep ratio, no model needed
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from adafv_core.checks import budget_from_keep_ratio
from adafv_core.errors import InputError
from adafv_core.methods import METHODS
from adafv_core.types import Crop, Selection, TokenGrid, TokenScores, VisualTokens, Why

FORMAT = "adafv-run"
VERSION = 1
MOST_TOKENS = 50_000
MOST_WORDS = 4_000
MOST_CHARACTERS = 100_000


@dataclass(frozen=True)
class SavedRun:
    """One question about one image, as it was saved.

    model, revision, versions: what answered it. scores: `t2i` is what the method ranked, with the temperature and
    text tokens of its options; its visual tokens have saliency and places, but no features. selection: at keep_ratio,
    with force_keep and force_drop (token indices). options: of the method. answers: "pruned" and "full", each a
    mapping with its text and what it cost, or None; "same" and "kl_nats" compare them. picture: a PNG file's bytes.
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


def read_run(text: str) -> SavedRun:
    """The run in the text of a saved file. Raises InputError that names what is wrong with it."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError("This file is not JSON: choose a file that was saved here as a run.") from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise InputError("This JSON file is not a saved run of this page.")
    if record.get("version") != VERSION:
        raise InputError(f"This run has file version {record.get('version')!r}; version {VERSION} can be read here.")
    try:
        return _run(record)
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, AttributeError) as error:
        raise InputError(f"This saved run is damaged near {error}.") from None


def _run(record: dict[str, Any]) -> SavedRun:
    if record["method"] not in METHODS:
        raise InputError(f"There is no method {record['method']!r:.60}; the methods are {', '.join(METHODS)}.")
    for name in ("model", "prompt"):
        if not isinstance(record[name], str):
            raise InputError(f"The {name} of this saved run is damaged.")
    options = {str(name): value for name, value in record["options"].items()}
    scores = _scores(record, options)
    marks = {name: _marks(record, name, scores.size) for name in ("force_keep", "force_drop")}
    budget_from_keep_ratio(record["keep_ratio"], scores.size)
    return SavedRun(
        record["model"],
        None if record["revision"] is None else str(record["revision"]),
        {str(name): str(value) for name, value in record["versions"].items()},
        record["prompt"],
        record["method"],
        options,
        float(record["keep_ratio"]),
        marks["force_keep"],
        marks["force_drop"],
        scores,
        _selection(record, scores.size, options),
        _answers(record["answers"]),
        _picture(record["picture"]),
    )


def _scores(record: dict[str, Any], options: dict[str, Any]) -> TokenScores:
    scores, n, words = record["scores"], record["scores"]["n_visual"], record["scores"]["words"]
    if type(n) is not int or not 1 <= n <= MOST_TOKENS:
        raise InputError(f"A saved run may have 1 to {MOST_TOKENS} visual tokens; this one says {n!r:.60}.")
    if len(words) > MOST_WORDS:
        raise InputError(f"A saved run may have at most {MOST_WORDS} words.")
    for word in words:
        if not isinstance(word["text"], str) or not isinstance(word["counted"], bool):
            raise InputError("A word of this saved run is damaged.")
    saliency = _row(scores, "saliency", n)
    nothing = torch.zeros(n, 1)
    visual = VisualTokens(nothing, saliency, _grid(record["grid"], n), nothing, saliency[None])
    rows = [_row(word, "t2i", n) for word in words]
    return TokenScores(
        t2i=_row(scores, "t2i", n),
        saliency=saliency,
        words=tuple(word["text"] for word in words),
        word_t2i=torch.stack(rows) if rows else torch.zeros(0, n),
        counted=torch.tensor([word["counted"] for word in words], dtype=torch.bool),
        text_tokens=torch.zeros(len(words), 1),
        visual=visual,
        prompt=record["prompt"],
        temperature=float(options.get("temperature", 100.0)),
    )


def _row(part: Mapping[str, Any], name: str, n: int) -> torch.Tensor:
    values = part[name]
    good = isinstance(values, list) and len(values) == n
    if not good or not all(_number(value) and value >= 0 for value in values):
        raise InputError(f"{name} of this saved run must be {n} numbers that are 0 or more.")
    return torch.tensor(values, dtype=torch.float32)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _grid(grid: Mapping[str, Any], n: int) -> TokenGrid:
    crops, offset = [], 0
    for crop in grid["crops"]:
        whole = all(type(crop[name]) is int and crop[name] >= 0 for name in ("rows", "cols", "offset"))
        if not whole or crop["offset"] != offset or not isinstance(crop["name"], str):
            raise InputError("A crop of this saved run is damaged.")
        left, top, right, bottom = (float(side) for side in crop["box"])
        if not (right > left and bottom > top):
            raise InputError("A crop of this saved run has no area.")
        crops.append(Crop(crop["name"], crop["rows"], crop["cols"], (left, top, right, bottom), offset))
        offset += crop["rows"] * crop["cols"]
    if offset != n:
        raise InputError(f"The crops of this saved run hold {offset} tokens, its scores {n}.")
    width, height = grid["image_size"]
    if not all(type(side) is int and 1 <= side <= 100_000 for side in (width, height)):
        raise InputError("The image size in this saved run is damaged.")
    return TokenGrid((width, height), tuple(crops))


def _marks(record: Mapping[str, Any], name: str, n: int) -> tuple[int, ...]:
    marks = record[name]
    for token in marks:
        if type(token) is not int or not 0 <= token < n:
            raise InputError(f"{name} names token {token!r:.60}; this run has {n} visual tokens.")
    return tuple(marks)


def _selection(record: Mapping[str, Any], n: int, options: Mapping[str, Any]) -> Selection:
    part = record["selection"]
    counts = {name: part[name] for name in ("budget", "k_text", "k_visual")}
    kept, why, mixed = torch.zeros(n, dtype=torch.bool), part["why"], _row(part, "mixed", n)
    indices = part["kept"]
    if any(type(value) is not int or not 0 <= value <= n for value in (*indices, *counts.values())) or n in indices:
        raise InputError("The selection of this saved run is damaged.")
    kept[indices] = True
    known = {int(reason) for reason in Why}
    agrees = len(why) == n and all(type(one) is int and one in known for one in why)
    if not agrees or indices != sorted(set(indices)) or [one != Why.DROPPED for one in why] != kept.tolist():
        raise InputError("The selection of this saved run does not say for each kept token why it was kept.")
    reasons = torch.tensor(why, dtype=torch.int8)
    return Selection(torch.tensor(indices), kept, mixed, reasons, **counts, method=record["method"], options=options)


def _answers(answers: Mapping[str, Any]) -> dict[str, Any]:
    if answers["same"] not in (True, False, None) or not (answers["kl_nats"] is None or _number(answers["kl_nats"])):
        raise InputError("The comparison of the answers in this saved run is damaged.")
    whole = {name: _answer(answers[name]) for name in ("pruned", "full")}
    return {**whole, "same": answers["same"], "kl_nats": answers["kl_nats"]}


def _answer(answer: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if answer is None:
        return None
    texts = {name: answer[name] for name in ("text", "state", "error")}
    if not all(isinstance(text, str) and len(text) <= MOST_CHARACTERS for text in texts.values()):
        raise InputError("An answer of this saved run is damaged.")
    costs = {str(name): value for name, value in answer.items() if name not in texts}
    if not all(isinstance(value, bool) or _number(value) for value in costs.values()):
        raise InputError("What an answer of this saved run cost must be numbers.")
    return {**texts, **costs}


def _picture(address: Any) -> bytes:
    head, _, data = str(address).partition(",")
    if head != "data:image/png;base64":
        raise InputError("The picture in this saved run is not a PNG.")
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        raise InputError("The picture in this saved run is damaged.") from None
