"""Made-up scores put on an open page, without a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from helpers.sent_payload import made_scores, sent
from playwright.sync_api import Page

from adafv_core.types import Crop, TokenGrid, TokenScores

PANELS = ("t2i", "saliency", "mixed", "kept")
LLAVA_NEXT = ((24, 24), (48, 48))


def pixels(page: Page, name: str) -> str:
    """The canvas of one map, as it is painted."""
    return str(page.evaluate(f"document.querySelector('canvas[data-panel={name}]').toDataURL()"))


def still_page(open_page: Callable[..., Page], scores: TokenScores | None = None, **options: int) -> Page:
    """A page that answers nothing by itself. scores: what it shows instead of its worked example."""
    page = open_page(**options)
    page.uncheck("#answer-while-sliding")
    if scores is not None:
        text = sent(scores, "adafv", {})
        page.evaluate("(text) => { adafv.page.load(JSON.parse(text)); adafv.page.notify('scores'); }", text)
    return page


def scores_on(size: tuple[int, int], *crops: Crop) -> TokenScores:
    """Random scores on a picture of this width and height."""
    scores = made_scores(1, tuple((crop.rows, crop.cols) for crop in crops), ties=False)
    return replace(scores, visual=replace(scores.visual, grid=TokenGrid(size, crops)))


def with_words(scores: TokenScores, count: int) -> TokenScores:
    """The same scores for a question of so many words."""
    words = tuple(f"word{i}" for i in range(count))
    return replace(
        scores, words=words, word_t2i=scores.t2i.expand(count, -1), counted=torch.ones(count, dtype=torch.bool)
    )
