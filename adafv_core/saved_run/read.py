"""Reads a SavedRun from the text of its file."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, TypeVar

import msgspec
import torch
from torch import Tensor

from adafv_core.checks import budget_from_keep_ratio, check_temperature
from adafv_core.errors import InputError
from adafv_core.methods import METHODS, get_method
from adafv_core.saved_run.errors import DAMAGED, damaged, damaged_record, shortened
from adafv_core.saved_run.format import (
    MOST_BYTES,
    MOST_VALUES,
    VERSION,
    AnswersRecord,
    GridRecord,
    Head,
    ImageRecord,
    RunRecord,
    SelectionRecord,
    WordRecord,
)
from adafv_core.saved_run.run import SavedImage, SavedRun
from adafv_core.types import POSITIONS, Crop, Selection, TokenGrid, TokenScores, VisualTokens, Why

UNKNOWN_SALIENCY = "visual saliency"
"""`VisualTokens.saliency_source` of files of version 1, which do not name it."""
_Record = TypeVar("_Record")
_PICTURES = tuple(f"data:image/{kind};base64" for kind in ("png", "jpeg", "webp"))


def read_run(text: str | bytes) -> SavedRun:
    """The run in a saved file, given as text or bytes, with or without a byte-order mark.

    Raises InputError saying what is wrong, with the JSON path if the error is inside the run.
    """
    if not isinstance(text, str | bytes):
        came = type(text).__name__
        raise InputError(f"read_run takes the text of a saved file, as `Path.read_text` gives it; got {came}.")
    data = _utf8(text)
    check_size(data)
    try:
        head = _decoded(data, Head)
    except msgspec.ValidationError:
        head = Head()
    if bytes(head.format) != b'"adafv-run"':
        raise InputError("This JSON file is not a saved run of this page.")
    version = _decoded(bytes(head.version), object)
    if version not in (1, VERSION):
        raise InputError(f"This run has file version {shortened(repr(version))}; versions 1 and 2 can be read here.")
    try:
        return _run(_decoded(data, RunRecord))
    except msgspec.ValidationError as error:
        raise damaged_record(error, data, RunRecord) from None


def check_size(data: bytes) -> None:
    """Raise InputError for a file larger than any run. Linear in its length; nothing is parsed."""
    if len(data) > MOST_BYTES:
        raise InputError(
            f"This file has {len(data) / 1e6:.1f} MB; a saved run has at most {MOST_BYTES / 1e6:.0f} MB. "
            "Ask a shorter question, or send a smaller picture."
        )
    values = sum(data.count(mark) for mark in (b",", b"[", b"{"))  # each JSON value but the first follows one of them
    if values > MOST_VALUES:
        raise InputError(
            f"This file has about {values:,} values; a saved run has at most {MOST_VALUES:,}, one for each word and "
            "visual token. Ask a shorter question."
        )


def _utf8(text: str | bytes) -> bytes:
    """The file as UTF-8 without a byte-order mark."""
    try:
        if isinstance(text, bytes):
            encoding = json.detect_encoding(text)  # by the byte-order mark, or by the zero bytes of UTF-16 and 32
            return text if encoding == "utf-8" else text.decode(encoding).encode()
        return text.removeprefix("\ufeff").encode()
    except UnicodeError:
        raise InputError("This file is not text: choose a JSON file that was saved here as a run.") from None


def _decoded(data: bytes, record: type[_Record]) -> _Record:
    """The JSON as this record. Raises ValidationError if it does not match, InputError if it is not JSON."""
    try:
        return msgspec.json.decode(data, type=record)
    except msgspec.ValidationError:
        raise
    except RecursionError:
        raise InputError("This file is not JSON of a run: it is nested too deeply.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"This file is not JSON: choose a file that was saved here as a run ({shortened(str(error))})."
        ) from None


def _run(record: RunRecord) -> SavedRun:
    if record.method not in METHODS:
        raise damaged("method", f"one of {', '.join(METHODS)}", record.method)
    positions = _positions(record)
    try:
        budget_from_keep_ratio(record.keep_ratio, record.scores.n_visual)
    except InputError as error:
        raise InputError(f"{DAMAGED}{error}") from None
    first = _image(record, record, positions)
    more = tuple(_more(at, one, record, positions) for at, one in enumerate(record.more_images))
    scores = first.scores
    if more and (record.force_keep or record.force_drop):
        raise damaged("more_images", "none beside forced tokens, which are those of one image", len(more))
    return SavedRun(
        record.model,
        record.revision,
        record.versions,
        record.prompt,
        record.method,
        record.options,
        record.keep_ratio,
        _tokens("force_keep", record.force_keep, scores.size),
        _tokens("force_drop", record.force_drop, scores.size),
        scores,
        first.selection,
        _answers(record.answers),
        first.picture,
        record.max_new_tokens,
        more,
        record.share,
    )


def _image(part: RunRecord | ImageRecord, record: RunRecord, positions: str | None) -> SavedImage:
    """One image of a run: its scores, selection and picture."""
    if record.version == VERSION:
        for name in ("temperature", "counting", "saliency_source"):
            if getattr(part.scores, name) is None:
                raise InputError(f"{DAMAGED}scores.{name} is missing.")
    scores = _scores(part, record)
    selection = replace(_selection(part.selection, scores.visual, record), positions=positions)
    return SavedImage(scores, selection, _picture(part.picture))


def _more(at: int, part: ImageRecord, record: RunRecord, positions: str | None) -> SavedImage:
    """A further image, whose errors are given with its own path."""
    own, first = part.scores, record.scores
    try:
        if [(word.text, word.counted) for word in own.words] != [(word.text, word.counted) for word in first.words]:
            raise damaged("scores.words", "the words of the first image", [word.text for word in own.words])
        for name in ("temperature", "counting", "model_key"):
            if getattr(own, name) != getattr(first, name):
                raise damaged(f"scores.{name}", "that of the first image", getattr(own, name))
        return _image(part, record, positions)
    except InputError as error:
        raise InputError(str(error).replace(DAMAGED, f"{DAMAGED}more_images[{at}].", 1)) from None


def _positions(record: RunRecord) -> str | None:
    """The position ids of the kept tokens, removed from the options, among which the file has them (as in 0.1)."""
    positions = record.options.pop("positions", None)
    if positions is not None and positions not in POSITIONS:
        raise damaged("options.positions", " or ".join(POSITIONS), positions)
    return None if positions is None else str(positions)


def _ranked_by(record: RunRecord) -> tuple[float, str]:
    """Temperature and counted text tokens of the scores; in version 1 they are among the method's options."""
    options, known = record.options, METHODS[record.method].__dataclass_fields__
    try:
        method = get_method(record.method, **{name: value for name, value in options.items() if name in known})
        temperature, counting = record.scores.temperature, record.scores.counting
        if temperature is None or counting is None:
            return getattr(method, "temperature", 100.0), getattr(method, "text_tokens", "question")
        return check_temperature(temperature), counting
    except InputError as error:
        raise InputError(f"{DAMAGED}options: {shortened(str(error), 300)}") from None


def _scores(image: RunRecord | ImageRecord, record: RunRecord) -> TokenScores:
    part, n = image.scores, image.scores.n_visual
    saliency = _row("scores.saliency", part.saliency, n)
    encoder_crop = image.grid.encoder_crop
    if encoder_crop is not None and len(encoder_crop) != n:
        raise damaged("grid.encoder_crop", f"{n} whole numbers", encoder_crop)
    visual = VisualTokens(
        features=None,
        saliency=saliency,
        grid=_grid(image.grid, n),
        cls_attention=None,
        image_key=part.image_key,
        model_key=part.model_key,
        encoder_crop=None if encoder_crop is None else torch.tensor(encoder_crop),
        saliency_source=UNKNOWN_SALIENCY if part.saliency_source is None else part.saliency_source,
    )
    temperature, counting = _ranked_by(record)
    return TokenScores(
        t2i=_row("scores.t2i", part.t2i, n),
        saliency=saliency,
        words=tuple(word.text for word in part.words),
        word_t2i=torch.stack([_row(f"scores.words[{at}].t2i", word.t2i, n) for at, word in enumerate(part.words)]),
        counted=_counted(part.words),
        text_tokens=None,
        visual=visual,
        prompt=record.prompt,
        temperature=temperature,
        counting=counting,
    )


def _counted(words: Sequence[WordRecord]) -> Tensor:
    return torch.tensor([word.counted for word in words], dtype=torch.bool)


def _row(path: str, values: list[float], n: int) -> Tensor:
    """(n,) float32."""
    if len(values) != n:
        raise InputError(f"{DAMAGED}{path}: expected {n} numbers, got {len(values)}.")
    return torch.tensor(values, dtype=torch.float32)


def _grid(grid: GridRecord, n: int) -> TokenGrid:
    width, height = grid.image_size
    crops: list[Crop] = []
    offset = 0
    for at, crop in enumerate(grid.crops):
        left, top, right, bottom = crop.box
        inside = -width <= left < right <= 2 * width and -height <= top < bottom <= 2 * height
        if not inside:
            raise damaged(f"grid.crops[{at}].box", f"a box with an area, about the {width} × {height} image", crop.box)
        if crop.offset != offset:
            raise damaged(f"grid.crops[{at}].offset", f"{offset}, the tokens before it", crop.offset)
        crops.append(Crop(crop.name, crop.rows, crop.cols, crop.box, offset))
        offset += crops[-1].size
    if offset != n:
        raise damaged("grid.crops", f"rows and columns of {n} tokens in all", offset)
    return TokenGrid((width, height), tuple(crops))


def _tokens(path: str, tokens: list[int], n: int) -> tuple[int, ...]:
    for at, token in enumerate(tokens):
        if token >= n:
            raise damaged(f"{path}[{at}]", f"one of the {n} visual tokens, from 0", token)
    return tuple(tokens)


def _selection(part: SelectionRecord, visual: VisualTokens, record: RunRecord) -> Selection:
    n = visual.size
    shared = record.share == "all" and bool(record.more_images)
    if not part.kept and not shared:
        raise damaged("selection.kept", "a list of at least 1 entries", part.kept)
    indices = _tokens("selection.kept", part.kept, n)
    counts = {name: getattr(part, name) for name in ("budget", "k_text", "k_visual")}
    most = record.scores.n_visual + sum(one.scores.n_visual for one in record.more_images) if shared else n
    for name, count in counts.items():
        if count > most:
            raise damaged(f"selection.{name}", f"at most {most}, the number of visual tokens", count)
    if any(later <= earlier for earlier, later in pairwise(indices)):
        raise damaged("selection.kept", "token numbers in ascending order, each once", part.kept)
    kept = torch.zeros(n, dtype=torch.bool)
    kept[part.kept] = True
    why = torch.tensor(part.why, dtype=torch.int8)
    if len(part.why) != n or not torch.equal(why != Why.DROPPED, kept):
        raise damaged("selection.why", f"{n} reasons, 0 exactly where a token is not in selection.kept", part.why)
    return Selection(
        indices=torch.tensor(indices, dtype=torch.long),
        kept=kept,
        mixed=_row("selection.mixed", part.mixed, n),
        why=why,
        **counts,
        method=record.method,
        options=record.options,
        image_key=visual.image_key,
        model_key=visual.model_key,
    )


def _answers(answers: AnswersRecord) -> dict[str, Any]:
    compared = (answers.same, answers.kl_nats) != (None, None)
    if compared and (answers.pruned is None or answers.full is None):
        raise InputError(DAMAGED + "answers: it compares answers that it does not hold.")
    found: dict[str, Any] = msgspec.to_builtins(answers)
    return found


def _picture(address: str) -> bytes:
    head, _, data = address.partition(",")
    if head not in _PICTURES:
        raise damaged("picture", "a data URL of a PNG, JPEG or WebP file", address)
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise InputError(DAMAGED + "picture: expected base64 after the comma.") from None
