"""A run as one JSON file: scores, split, settings, versions, revision, picture and answers; and back again."""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from adafv_core import __version__
from adafv_core.errors import InputError
from adafv_core.scoring import rescored_t2i
from adafv_core.types import Crop, Selection, TokenGrid, TokenScores, VisualTokens
from app.inputs import Choice, read_method
from app.views import answer_view, compare, grid_view
from app.visits import Run

FORMAT = "adafv-run"
VERSION = 1
MOST_TOKENS = 50_000
MOST_WORDS = 4_000


def run_record(run: Run, choice: Choice, selection: Selection, revision: str | None) -> dict[str, Any]:
    """Everything about a run as plain values. Score lists are float32, written so that they read back equal.

    scores.t2i is what the method ranked (its own temperature and text tokens); `adafv_core.mix(t2i, saliency,
    budget, floor)` on the lists gives `selection.kept` again, where no tokens were forced.
    """
    options = run.options
    temperature = float(options.get("temperature", run.scores.temperature))
    t2i = rescored_t2i(run.scores, temperature, str(options.get("text_tokens", "question")))
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": run.model,
        "revision": revision,
        "versions": {"adafv": __version__, **{name: version(name) for name in ("torch", "transformers", "gradio")}},
        "prompt": run.prompt,
        "method": run.method,
        "options": dict(options),
        "keep_ratio": choice.keep_ratio,
        "force_keep": list(choice.force_keep),
        "force_drop": list(choice.force_drop),
        "grid": grid_view(run.scores),
        "scores": {
            "n_visual": run.scores.size,
            "t2i": _floats(t2i),
            "saliency": _floats(run.scores.saliency),
            "words": [
                {"text": text, "counted": counted, "t2i": _floats(row)}
                for text, counted, row in zip(
                    run.scores.words, run.scores.counted.tolist(), run.scores.word_t2i, strict=True
                )
            ],
        },
        "selection": {
            "budget": selection.budget,
            "k_text": selection.k_text,
            "k_visual": selection.k_visual,
            "kept": selection.indices.tolist(),
            "why": selection.why.tolist(),
            "mixed": _floats(selection.mixed),
        },
        "answers": {
            "pruned": answer_view(run.pruned, "done") if run.pruned else None,
            "full": answer_view(run.full, "done") if run.full else None,
            **compare(run.pruned, run.full),
        },
        "picture": _picture(run.picture),
    }


def read_record(text: str) -> dict[str, Any]:
    """Check a saved run and return it. Raises InputError that names what is wrong."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError("This file is not JSON: choose a file that was saved here as a run.") from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise InputError("This JSON file is not a saved run of this page.")
    if record.get("version") != VERSION:
        raise InputError(f"This run has file version {record.get('version')!r}; version {VERSION} can be read here.")
    try:
        _check(record)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"This saved run is damaged near {error}.") from None
    return record


def scores_of(record: Mapping[str, Any]) -> TokenScores:
    """The scores of a checked record, without the features they were made from."""
    scores, grid = record["scores"], record["grid"]
    crops = tuple(Crop(c["name"], c["rows"], c["cols"], tuple(c["box"]), c["offset"]) for c in grid["crops"])
    n = scores["n_visual"]
    saliency = torch.tensor(scores["saliency"], dtype=torch.float32)
    nothing = torch.zeros(n, 1)
    visual = VisualTokens(nothing, saliency, TokenGrid(tuple(grid["image_size"]), crops), nothing, saliency[None])
    words = scores["words"]
    return TokenScores(
        t2i=torch.tensor(scores["t2i"], dtype=torch.float32),
        saliency=saliency,
        words=tuple(word["text"] for word in words),
        word_t2i=torch.tensor([word["t2i"] for word in words], dtype=torch.float32).reshape(len(words), n),
        counted=torch.tensor([word["counted"] for word in words], dtype=torch.bool),
        text_tokens=torch.zeros(len(words), 1),
        visual=visual,
        prompt=record["prompt"],
        temperature=float(record["options"].get("temperature", 100.0)),
    )


def picture_bytes(record: Mapping[str, Any]) -> bytes:
    """The picture file inside a record."""
    head, _, data = str(record["picture"]).partition(",")
    if head != "data:image/png;base64":
        raise InputError("The picture in this saved run is not a PNG.")
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        raise InputError("The picture in this saved run is damaged.") from None


def _check(record: dict[str, Any]) -> None:
    scores, n = record["scores"], record["scores"]["n_visual"]
    if not isinstance(n, int) or not 1 <= n <= MOST_TOKENS:
        raise InputError(f"A saved run may have 1 to {MOST_TOKENS} visual tokens; this one says {n!r}.")
    if len(scores["words"]) > MOST_WORDS:
        raise InputError(f"A saved run may have at most {MOST_WORDS} words.")
    rows = [("t2i", scores["t2i"]), ("saliency", scores["saliency"])]
    rows += [(f"word {index}", word["t2i"]) for index, word in enumerate(scores["words"])]
    for name, values in rows:
        good = isinstance(values, list) and len(values) == n
        if not good or not all(isinstance(v, int | float) and math.isfinite(v) and v >= 0 for v in values):
            raise InputError(f"{name} of this saved run must be {n} numbers that are 0 or more.")
    for word in scores["words"]:
        if not isinstance(word["text"], str) or not isinstance(word["counted"], bool):
            raise InputError("A word of this saved run is damaged.")
    offset = 0
    for crop in record["grid"]["crops"]:
        whole = all(isinstance(crop[name], int) and crop[name] >= 0 for name in ("rows", "cols", "offset"))
        if not whole or crop["offset"] != offset or len(crop["box"]) != 4 or not isinstance(crop["name"], str):
            raise InputError("A crop of this saved run is damaged.")
        crop["box"] = [float(side) for side in crop["box"]]
        if not (crop["box"][2] > crop["box"][0] and crop["box"][3] > crop["box"][1]):
            raise InputError("A crop of this saved run has no area.")
        offset += crop["rows"] * crop["cols"]
    if offset != n:
        raise InputError(f"The crops of this saved run hold {offset} tokens, its scores {n}.")
    width, height = record["grid"]["image_size"]
    if not all(isinstance(side, int) and 1 <= side <= 100_000 for side in (width, height)):
        raise InputError("The image size in this saved run is damaged.")
    read_method(record["method"])
    if not isinstance(record["prompt"], str) or not isinstance(record["options"], dict):
        raise InputError("The question or the options of this saved run are damaged.")


def _floats(values: torch.Tensor) -> list[float]:
    return [float(str(value)) for value in values.detach().cpu().float().numpy()]


def _picture(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def write_picture(record: Mapping[str, Any], path: Path) -> None:
    """Write the record's picture to a file, unopened."""
    path.write_bytes(picture_bytes(record))


def kept_mask(record: Mapping[str, Any]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(N,) bool, the tokens the record says were kept."""
    mask = np.zeros(record["scores"]["n_visual"], np.bool_)
    mask[record["selection"]["kept"]] = True
    return mask
