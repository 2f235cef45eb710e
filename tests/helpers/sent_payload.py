"""Scores made for the browser tests, and the payload that the page is sent for them."""

from __future__ import annotations

from typing import Any

import torch
from helpers.made_scores import select
from PIL import Image

from adafv_core.types import Crop, TokenGrid, TokenScores, VisualTokens
from app.wire.payload import payload


def made_scores(seed: int, crops: tuple[tuple[int, int], ...], ties: bool) -> TokenScores:
    """Random scores over one or several crops; with ties, values come from few levels, zero among them."""
    generator = torch.Generator().manual_seed(seed)
    n = sum(rows * cols for rows, cols in crops)
    t2i, saliency = (torch.rand(n, generator=generator) ** 4 for _ in range(2))
    if ties:
        t2i, saliency = (t2i * 5).round() / 50, (saliency * 4).round() / 40
    places, offset = [], 0
    for index, (rows, cols) in enumerate(crops):
        places.append(Crop(("base", "tiles")[index], rows, cols, (0.0, 0.0, 96.0, 64.0), offset))
        offset += rows * cols
    features, keys = (torch.rand(n, 4, generator=generator) for _ in range(2))
    visual = VisualTokens(features, saliency, TokenGrid((96, 64), tuple(places)), saliency[None], features, keys)
    words, counted = ("red", ":"), torch.tensor([True, False])
    return TokenScores(
        t2i,
        saliency,
        words,
        torch.stack((t2i, saliency)),
        counted,
        torch.rand(2, 4, generator=generator),
        visual,
        "red",
    )


def sent(scores: TokenScores, method: str, options: dict[str, Any]) -> str:
    return payload(
        scores,
        Image.new("RGB", (96, 64)),
        lambda k: select(method, scores, k, **options),
        method=method,
        options=options,
        keep_ratio=0.1,
        key="key",
    )
