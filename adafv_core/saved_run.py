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

from adafv_core.checks import budget_from_keep_ratio, check_temperature
from adafv_core.errors import InputError
from adafv_core.methods import METHODS, get_method
from adafv_core.types import Crop, Selection, TokenGrid, TokenScores, VisualTokens, Why

FORMAT = "adafv-run"
VERSION = 1
MOST_TOKENS = 50_000
MOST_WORDS = 4_000
MOST_CHARACTERS = 100_000
_COUNTS = ("n_visual", "n_kept", "n_newline", "n_text", "prefill_flops", "vision_flops", "kv_cache_bytes")
_HIGHEST = torch.finfo(torch.float32).max
_RATES = ("encode_s", "select_s", "prefill_s", "ttft_s", "decode_s", "tokens_per_s")
_PICTURES = tuple(f"data:image/{kind};base64" for kind in ("png", "jpeg", "webp"))


@dataclass(frozen=True)
class SavedRun:
    """One question about one image, as it was saved.

    model, revision, versions: what answered it. scores: `t2i` is what the method ranked, with the temperature and
    text tokens of its options; its visual tokens have saliency and places, but no features. selection: at keep_ratio,
    with force_keep and force_drop (token indices). options: of the method. answers: "pruned" and "full", each a
    mapping with its text, its state ("done", or "stopped" where it was ended early) and what it cost, or None; "same"
    and "kl_nats" compare them where both are there. "pruned" was made with `selection` and with no other: it is None
    where the slider had moved on since the answer. picture: a PNG file's bytes; where that would be too large a
    picture for the page, those of the JPEG, PNG or WebP file that was asked about. max_new_tokens: the longest answer
    that was asked for, None where the file does not say.
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


def read_run(text: str) -> SavedRun:
    """The run in the text of a saved file. Raises InputError that names what is wrong with it."""
    if not isinstance(text, str | bytes):
        came = type(text).__name__
        raise InputError(f"read_run takes the text of a saved file, as `Path.read_text` gives it; got {came}.")
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError("This file is not JSON: choose a file that was saved here as a run.") from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise InputError("This JSON file is not a saved run of this page.")
    if record.get("version") != VERSION:
        version = record.get("version")
        raise InputError(f"This run has file version {version!r:.60}; version {VERSION} can be read here.")
    try:
        return _run(record)
    except InputError as error:
        short = _shortened(str(error))
        if short == str(error):
            raise
        raise InputError(short) from None
    except KeyError as missing:
        raise InputError(f"This saved run is damaged: it has no {missing.args[0]}.") from None
    except (TypeError, ValueError, IndexError, OverflowError, AttributeError) as error:
        raise InputError(f"This saved run is damaged: {_shortened(str(error))}.") from None


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:200]} … {line[-99:]}"


def _run(record: dict[str, Any]) -> SavedRun:
    method = record["method"]
    if not isinstance(method, str) or method not in METHODS:
        raise InputError(f"There is no method {method!r:.60}; the methods are {', '.join(METHODS)}.")
    options = _options(record["options"], method)
    scores = _scores(record, options)
    marks = {name: _marks(record, name, scores.size) for name in ("force_keep", "force_drop")}
    budget_from_keep_ratio(record["keep_ratio"], scores.size)
    return SavedRun(
        _text(record["model"], "The model"),
        None if record["revision"] is None else _text(record["revision"], "The revision"),
        {_text(name, "A package"): _text(value, "A version") for name, value in record["versions"].items()},
        scores.prompt,
        method,
        options,
        float(record["keep_ratio"]),
        marks["force_keep"],
        marks["force_drop"],
        scores,
        _selection(record, scores.size, options),
        _answers(record["answers"]),
        _picture(record["picture"]),
        _most_new(record.get("max_new_tokens")),
    )


def _text(value: Any, what: str) -> str:
    """A text that can be written as UTF-8, which JSON's escapes do not promise."""
    if not isinstance(value, str) or len(value) > MOST_CHARACTERS or any("\ud800" <= c <= "\udfff" for c in value):
        raise InputError(f"{what} of this saved run is damaged.")
    return value


def _options(options: Mapping[str, Any], method: str) -> dict[str, Any]:
    given = {_text(name, "An option"): value for name, value in options.items()}
    if not all(isinstance(value, str | int | float) for value in given.values()):
        raise InputError("An option of this saved run is neither a number nor a word.")
    known = METHODS[method].__dataclass_fields__
    get_method(method, **{name: value for name, value in given.items() if name in known})
    return given


def _most_new(count: Any) -> int | None:
    if count is not None and (type(count) is not int or not 1 <= count <= MOST_CHARACTERS):
        raise InputError(f"max_new_tokens of this saved run must be a whole number above 0; it is {count!r:.60}.")
    return count


def _scores(record: dict[str, Any], options: dict[str, Any]) -> TokenScores:
    scores, n, words = record["scores"], record["scores"]["n_visual"], record["scores"]["words"]
    if type(n) is not int or not 1 <= n <= MOST_TOKENS:
        raise InputError(f"A saved run may have 1 to {MOST_TOKENS} visual tokens; this one says {n!r:.60}.")
    if not 1 <= len(words) <= MOST_WORDS:
        raise InputError(f"A saved run has 1 to {MOST_WORDS} words; this one has {len(words)}.")
    if not all(isinstance(word["counted"], bool) for word in words):
        raise InputError("A word of this saved run does not say whether it counts.")
    saliency = _row(scores, "saliency", n)
    visual = VisualTokens(None, saliency, _grid(record["grid"], n), None, None)
    return TokenScores(
        t2i=_row(scores, "t2i", n),
        saliency=saliency,
        words=tuple(_text(word["text"], "A word") for word in words),
        word_t2i=torch.stack([_row(word, "t2i", n) for word in words]),
        counted=torch.tensor([word["counted"] for word in words], dtype=torch.bool),
        text_tokens=None,
        visual=visual,
        prompt=_text(record["prompt"], "The prompt"),
        temperature=check_temperature(options.get("temperature", 100.0)),
        counting=str(options.get("text_tokens", "question")),
    )


def _row(part: Mapping[str, Any], name: str, n: int) -> torch.Tensor:
    values = part[name]
    good = isinstance(values, list) and len(values) == n
    if not good or not all(_number(value) and 0 <= value <= _HIGHEST for value in values):
        raise InputError(f"{name} of this saved run must be {n} numbers that are 0 or more.")
    return torch.tensor([float(value) for value in values], dtype=torch.float32)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _grid(grid: Mapping[str, Any], n: int) -> TokenGrid:
    width, height = grid["image_size"]
    if not all(type(side) is int and 1 <= side <= 100_000 for side in (width, height)):
        raise InputError("The image size in this saved run is damaged.")
    crops, offset = [], 0
    for crop in grid["crops"]:
        crops.append(_crop(crop, offset, width, height))
        offset += crops[-1].size
    if offset != n:
        raise InputError(f"The crops of this saved run hold {offset} tokens, its scores {n}.")
    return TokenGrid((width, height), tuple(crops))


def _crop(crop: Mapping[str, Any], offset: int, width: int, height: int) -> Crop:
    whole = all(type(crop[name]) is int and crop[name] >= 1 for name in ("rows", "cols"))
    if not whole or type(crop["offset"]) is not int or crop["offset"] != offset:
        raise InputError("A crop of this saved run is damaged.")
    left, top, right, bottom = crop["box"]
    if not all(_number(side) for side in (left, top, right, bottom)) or not (right > left and bottom > top):
        raise InputError("A crop of this saved run has no area.")
    if left < -width or top < -height or right > 2 * width or bottom > 2 * height:
        raise InputError("A crop of this saved run lies outside its image.")
    box = (float(left), float(top), float(right), float(bottom))
    return Crop(_text(crop["name"], "A crop"), crop["rows"], crop["cols"], box, offset)


def _marks(record: Mapping[str, Any], name: str, n: int) -> tuple[int, ...]:
    marks = record[name]
    if not isinstance(marks, list):
        raise InputError(f"{name} of this saved run must be a list of tokens.")
    for token in marks:
        if type(token) is not int or not 0 <= token < n:
            raise InputError(f"{name} names token {token!r:.60}; this run has {n} visual tokens.")
    return tuple(marks)


def _selection(record: Mapping[str, Any], n: int, options: Mapping[str, Any]) -> Selection:
    part = record["selection"]
    counts = {name: part[name] for name in ("budget", "k_text", "k_visual")}
    kept, why, mixed = torch.zeros(n, dtype=torch.bool), part["why"], _row(part, "mixed", n)
    indices = part["kept"]
    if not isinstance(indices, list) or not indices or not isinstance(why, list):
        raise InputError("The selection of this saved run keeps no token.")
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
    whole: dict[str, Any] = {name: _answer(answers[name]) for name in ("pruned", "full")}
    same, kl_nats = answers["same"], answers["kl_nats"]
    if not (same is None or isinstance(same, bool)) or not (kl_nats is None or _number(kl_nats)):
        raise InputError("The comparison of the answers in this saved run is damaged.")
    if None in whole.values() and (same, kl_nats) != (None, None):
        raise InputError("This saved run compares answers that it does not hold.")
    return {**whole, "same": same, "kl_nats": kl_nats}


def _answer(answer: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if answer is None:
        return None
    for name in ("text", "error"):
        _text(answer[name], "An answer")
    if answer["state"] not in ("done", "stopped") or not isinstance(answer["finished"], bool):
        raise InputError("An answer of this saved run must be done or stopped.")
    for name in (*_COUNTS, *_RATES):
        if not _number(answer[name]) or answer[name] < 0:
            raise InputError(f"{name} of an answer of this saved run must be a number that is 0 or more.")
    return {name: answer[name] for name in answer if name in {"text", "error", "state", "finished", *_COUNTS, *_RATES}}


def _picture(address: Any) -> bytes:
    head, _, data = str(address).partition(",")
    if head not in _PICTURES:
        raise InputError("The picture in this saved run is not a PNG, JPEG or WebP file.")
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        raise InputError("The picture in this saved run is damaged.") from None
