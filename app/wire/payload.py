"""Scores → what the browser needs to redraw everything by itself: one JSON text per image, prompt and settings."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from adafv_core.checks import budget_from_keep_ratio
from adafv_core.errors import BudgetError
from adafv_core.methods import METHODS
from adafv_core.methods.base import best_of, kept_because
from adafv_core.mixing import budget_path
from adafv_core.ranking import top_k
from adafv_core.types import Selection, TokenScores, Why
from app.wire.look import COLOR_MAPS
from app.wire.steps import array, packed, stop_tables
from app.wire.views import grid_view, ranked

PICTURE_SIDE_PX = 896
"""The picture that lies under the maps is sent at most this large; exports use the image's own size."""
OWN_RATIO_ONLY = "This saved run holds its own keep ratio only: ask again to choose others."


def slider_stops() -> tuple[float, ...]:
    """Keep ratios at which the slider stops, ascending: 0.5 % steps to 20 %, 1 % to 50 %, 2.5 % to 100 %."""
    fine = [step / 200 for step in range(2, 41)]
    middle = [step / 100 for step in range(21, 51)]
    coarse = [step / 40 for step in range(21, 41)]
    return (*fine, *middle, *coarse)


def payload(
    scores: TokenScores,
    picture: Image.Image,
    select: Callable[[int], Selection],
    method: str,
    options: dict[str, Any],
    keep_ratio: float,
    key: str,
    subject: str = "",
    forced: tuple[Sequence[int], Sequence[int]] | None = None,
    only: Selection | None = None,
) -> str:
    """The browser's payload as JSON text.

    scores: of this image and prompt. picture: the image itself. select: the Selection of a budget, without
    forced tokens. options: temperature, floor and text_tokens as the method runs with them. key: names this
    content; the page ignores a payload it already shows. subject: names what the tokens are of; marks on them go
    back with it. forced: token indices to keep and to drop of an opened
    run, whose marks and keep_ratio the page takes over, and which it does not ask again by itself. only: its saved
    selection, where the method chooses on more than scores; then no other stop can be chosen.

    For adafv the best split of every budget is sent; for other methods, per stop, why each token stays and what its
    mixed score is (`stop_tables`). A method inside the LLM is asked once: its ranking does not depend on the budget.
    """
    n = scores.size
    scores = ranked(scores, options)
    floor = float(options.get("floor", 0.0))
    ratios = sorted({*slider_stops(), keep_ratio})
    stops = [{"ratio": ratio, "budget": budget_from_keep_ratio(ratio, n)} for ratio in ratios]
    body: dict[str, Any] = {
        "n": n,
        "method": method,
        "key": key,
        "subject": subject,
        "method_note": method_note(method),
        "floor": floor,
        "keep_ratio": keep_ratio,
        "picture": data_url(picture),
        "size": list(scores.visual.grid.image_size),
        "crops": grid_view(scores)["crops"],
        "t2i": packed(array(scores.t2i, np.float32)),
        "saliency": packed(array(scores.saliency, np.float32)),
        "saliency_source": scores.visual.saliency_source,
        "order_text": packed(array(top_k(scores.t2i, n), np.uint32)),
        "order_vision": packed(array(top_k(scores.saliency, n), np.uint32)),
        "words": word_maps(scores),
        "stops": stops,
        "set_choice": forced is not None,
        "from_file": forced is not None,
        "force_keep": list(forced[0]) if forced else [],
        "force_drop": list(forced[1]) if forced else [],
        "color_maps": {name: packed(table) for name, table in COLOR_MAPS.items()},
    }
    if method == "adafv":
        path = budget_path(scores.t2i, scores.saliency, floor)
        body["rule"] = "split"
        body["path_text"] = packed(array(path.k_text, np.uint32))
        body["path_vision"] = packed(array(path.k_visual, np.uint32))
    else:
        body["rule"] = "table"
        chosen, ranked_by = _at_stops(select, method, stops, n) if only is None else _at_one_stop(only, stops)
        rankings = [array(one, np.float32) for one in (scores.saliency, scores.t2i, ranked_by)]
        body.update(stop_tables(chosen, rankings, stops))
    return json.dumps(body, separators=(",", ":"), allow_nan=False)


def method_note(method: str) -> str:
    """The first sentence of what the method's class says of itself: what the method does, and its source."""
    text = " ".join((METHODS[method].__doc__ or "").split())
    return text.split(". ")[0].rstrip(".") + "."


def word_maps(scores: TokenScores) -> list[dict[str, Any]]:
    """Each word's own attention, in 65,535 steps of its highest value."""
    rows = array(scores.word_t2i, np.float32)
    words = []
    for text, row, counted in zip(scores.words, rows, scores.counted.tolist(), strict=True):
        peak = float(row.max())
        steps = np.round(row / peak * 65_535).astype(np.uint16) if peak > 0 else np.zeros(row.shape, np.uint16)
        words.append({"text": text, "counted": counted, "peak": peak, "map": packed(steps)})
    return words


def data_url(picture: Image.Image) -> str:
    """A JPEG of the picture, scaled down to what the page shows."""
    small = picture.copy()
    small.thumbnail((PICTURE_SIDE_PX, PICTURE_SIDE_PX), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _at_stops(
    select: Callable[[int], Selection], method: str, stops: list[dict[str, Any]], n: int
) -> tuple[list[Selection | None], Tensor]:
    """The selection at every stop (None, and the stop's `problem`, where the budget is none for the method),
    and (N,) values that the method may have ranked by."""
    if METHODS[method].inside_llm:
        best = select(1)
        return [_more_of(best, int(stop["budget"])) for stop in stops], best.report["ranking"]
    chosen: list[Selection | None] = []
    for stop in stops:
        try:
            chosen.append(select(int(stop["budget"])))
        except BudgetError as error:
            stop["problem"] = str(error)
            chosen.append(None)
    return chosen, select(n).mixed


def _at_one_stop(only: Selection, stops: list[dict[str, Any]]) -> tuple[list[Selection | None], Tensor]:
    """As `_at_stops`, where one selection of one budget is all there is."""
    for stop in stops:
        if stop["budget"] != only.budget:
            stop["problem"] = OWN_RATIO_ONLY
    return [None if "problem" in stop else only for stop in stops], only.mixed


def _more_of(best: Selection, budget: int) -> Selection:
    """From the selection of one token that of `budget` tokens, for a method that keeps the best of its ranking."""
    kept, mixed = best_of(best.report["ranking"], budget)
    why = kept_because(kept, Why.METHOD)
    return replace(best, indices=kept.nonzero()[:, 0], kept=kept, mixed=mixed, why=why, budget=budget)
