"""Everything the browser needs to redraw the maps by itself: one JSON text per image, prompt and settings."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from adafv_core.checks import budget_from_keep_ratio
from adafv_core.errors import BudgetError
from adafv_core.methods import METHODS
from adafv_core.methods.base import NestedMethod, best_choice
from adafv_core.methods.inside import InsideMethod
from adafv_core.mixing import budget_path, top_k
from adafv_core.types import Selection, TokenScores
from app.wire.look import COLOR_MAPS
from app.wire.steps import array, packed, step_tables
from app.wire.views import grid_view, ranked

PICTURE_SIDE_PX = 896
"""The longest side of the picture under the maps; exports use the image's full size."""
INSIDE_RATIO_ONLY = "This method chooses layer by layer inside the LLM, for one keep ratio: ask again at this one."
OWN_RATIO_ONLY = "This saved run holds its own keep ratio only: ask again to choose others."


def slider_ratios() -> tuple[float, ...]:
    """Keep ratios of the slider's steps, ascending: every 0.5 % to 20 %, 1 % to 50 %, 2.5 % to 100 %."""
    fine = [step / 200 for step in range(2, 41)]
    middle = [step / 100 for step in range(21, 51)]
    coarse = [step / 40 for step in range(21, 41)]
    return (*fine, *middle, *coarse)


def payload(*arguments: Any, share: str = "image", images: Sequence[Mapping[str, Any]] = (), **options: Any) -> str:
    """The browser's payload as JSON text: a `payload_body`, and the further images of the question.

    share: as in a Request. images: with "image" the body of each further image; with "all", where the one body is that
    of the tokens of all images together, the `image_view` of each.
    """
    body = {**payload_body(*arguments, **options), "share": share, "images": images}
    return json.dumps(body, separators=(",", ":"), allow_nan=False)


def payload_body(
    scores: TokenScores,
    picture: Image.Image,
    select: Callable[[int], Selection],
    *,
    method: str,
    options: dict[str, Any],
    keep_ratio: float,
    key: str,
    subject: str = "",
    forced: tuple[Sequence[int], Sequence[int]] | None = None,
    only: Selection | None = None,
    view: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What the browser needs to redraw the maps of one image.

    scores: for this image and prompt. picture: the image itself. select: maps a budget to its Selection, without
    forced tokens. options: the temperature, floor and text_tokens that the method runs with. key: identifies this
    content; the page ignores a payload it already shows. subject: model and image of the tokens; the page returns it
    with its marks. forced: for an opened run, the token indices to keep and to drop; the page adopts them and
    keep_ratio, and does not ask again by itself. only: the run's saved selection if its method needs more than scores;
    no other slider step can be chosen then. view: what asks for the same view again, for the page's address.

    For adafv the best split of every budget is sent; for other methods, per slider step, why each token is kept and its
    mixed score (`step_tables`). A method inside the LLM selects once, since its ranking does not depend on the budget;
    a nested method makes its picks once.
    """
    n = scores.size
    made, scores = scores, ranked(scores, options)
    floor = float(options.get("floor", 0.0))
    ratios = sorted({*slider_ratios(), keep_ratio})
    steps = [{"ratio": ratio, "budget": budget_from_keep_ratio(ratio, n)} for ratio in ratios]
    body: dict[str, Any] = {
        "method": method,
        "key": key,
        "subject": subject,
        "method_note": method_note(method),
        "floor": floor,
        "keep_ratio": keep_ratio,
        **image_view(scores, picture),
        "t2i": packed(array(scores.t2i, np.float32)),
        "saliency": packed(array(scores.saliency, np.float32)),
        "saliency_source": scores.visual.saliency_source,
        "order_text": packed(array(top_k(scores.t2i, n), np.uint32)),
        "order_vision": packed(array(top_k(scores.saliency, n), np.uint32)),
        "words": word_maps(scores),
        "steps": steps,
        "view": dict(view or {}),
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
        chosen = (
            _at_steps(select, made, method, options, steps, keep_ratio)
            if only is None
            else _at_one_step(only, steps, OWN_RATIO_ONLY)
        )
        body.update(step_tables(chosen, steps))
    return body


def image_view(scores: TokenScores, picture: Image.Image) -> dict[str, Any]:
    """An image under the maps: its picture, its size in pixels, its crops, and how many visual tokens it has."""
    grid = grid_view(scores)
    return {"picture": data_url(picture), "size": grid["image_size"], "crops": grid["crops"], "n": scores.size}


def method_note(method: str) -> str:
    """The first sentence of the method's docstring: what the method does, and its source."""
    text = " ".join((METHODS[method].__doc__ or "").split())
    return text.split(". ")[0].rstrip(".") + "."


def word_maps(scores: TokenScores) -> list[dict[str, Any]]:
    """Each word's own attention, quantized to 16 bits of its peak."""
    rows = array(scores.word_t2i, np.float32)
    words = []
    for text, row, counted in zip(scores.words, rows, scores.counted.tolist(), strict=True):
        peak = float(row.max())
        levels = np.round(row / peak * 65_535).astype(np.uint16) if peak > 0 else np.zeros(row.shape, np.uint16)
        words.append({"text": text, "counted": counted, "peak": peak, "map": packed(levels)})
    return words


def data_url(picture: Image.Image) -> str:
    """A JPEG of the picture, scaled down to what the page shows."""
    small = picture.copy()
    small.thumbnail((PICTURE_SIDE_PX, PICTURE_SIDE_PX), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _at_steps(
    select: Callable[[int], Selection],
    scores: TokenScores,
    method: str,
    options: dict[str, Any],
    steps: list[dict[str, Any]],
    keep_ratio: float,
) -> list[Selection | None]:
    """The selection at every slider step; None, and the step's `problem`, where the method refuses the budget."""
    budgets = [int(step["budget"]) for step in steps]
    kind = METHODS[method]
    if issubclass(kind, InsideMethod):
        if kind.one_ranking:
            best = select(1)
            return [_more_of(best, budget) for budget in budgets]
        own = select(budget_from_keep_ratio(keep_ratio, scores.size))
        return _at_one_step(own, steps, INSIDE_RATIO_ONLY)
    made: Iterable[Selection | BudgetError]
    if issubclass(kind, NestedMethod):
        made = kind(**options).path(scores, budgets)
    else:
        made = (_selected(select, budget) for budget in budgets)
    chosen: list[Selection | None] = []
    for step, selection in zip(steps, made, strict=True):
        if isinstance(selection, BudgetError):
            step["problem"] = str(selection)
        chosen.append(None if isinstance(selection, BudgetError) else selection)
    return chosen


def _selected(select: Callable[[int], Selection], budget: int) -> Selection | BudgetError:
    try:
        return select(budget)
    except BudgetError as error:
        return error


def _at_one_step(only: Selection, steps: list[dict[str, Any]], problem: str) -> list[Selection | None]:
    """Like `_at_steps`, if there is only one selection for one budget."""
    for step in steps:
        if step["budget"] != only.budget:
            step["problem"] = problem
    return [None if "problem" in step else only for step in steps]


def _more_of(best: Selection, budget: int) -> Selection:
    """Extend the selection of one token to `budget` tokens, for a method that keeps the best of its ranking."""
    choice = best_choice(best.report["ranking"], budget)
    return replace(METHODS[best.method]().selection(choice, budget), options=best.options, report=best.report)
