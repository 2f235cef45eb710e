"""From kept tokens to the arguments of stock `generate`.

The prompt keeps its placeholder ids, only fewer of them, and the features go in as ready encoder outputs
(`mm_encoder_outputs`), so everything after that is stock transformers: caches, beams, sampling, streamers.
The engine and the drop-in context manager both build their inputs here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers.modeling_outputs import BaseModelOutputWithPooling

from adafv_core.errors import InputError, UnknownNameError
from adafv_core.grid import newlines_to_keep, stock_positions
from adafv_core.types import Selection, VisualTokens

NEWLINES = ("drop", "rows")
POSITIONS = ("contiguous", "original")


@dataclass(frozen=True)
class PlacedImage:
    """An image in a prompt: its first placeholder stands at `start`; selection None keeps everything."""

    start: int
    visual: VisualTokens
    selection: Selection | None = None


@dataclass(frozen=True)
class Row:
    """One prompt of a batch, without padding. ids: (L,) int64, every image with all its M placeholders."""

    ids: Tensor
    images: tuple[PlacedImage, ...]


@dataclass(frozen=True)
class Batch:
    """Left-padded arguments for `generate`.

    arguments: input_ids and attention_mask (B, L'), mm_encoder_outputs, and position_ids where positions
    are the original ones. n_newline: newline tokens kept, one count a row.
    """

    arguments: dict[str, Any]
    n_newline: tuple[int, ...]


def kept_places(visual: VisualTokens, selection: Selection | None, newline: str) -> tuple[Tensor, int]:
    """Which of the image's M stock positions stay, ascending int64 on the CPU, and how many are newline
    tokens.

    newline: "drop" or "rows" (those that close a row with a kept token). With all N tokens kept nothing is
    dropped. Raises UnknownNameError for another choice.
    """
    if newline not in NEWLINES:
        raise UnknownNameError(f"newline must be one of {', '.join(NEWLINES)}; got {newline!r}.")
    n_stock = visual.stock_size
    if selection is None or (selection.size == visual.size and selection.features is None):
        return torch.arange(n_stock), n_stock - visual.size
    tokens, newlines = stock_positions(visual.size, visual.newline_after)
    places = tokens[selection.indices.cpu()]
    if newline == "drop" or visual.newline_after is None:
        return places, 0
    closing = newlines[newlines_to_keep(visual.grid, selection.kept.cpu(), visual.newline_after.cpu())]
    return torch.cat((places, closing)).sort().values, closing.numel()


def kept_features(visual: VisualTokens, selection: Selection | None, places: Tensor) -> Tensor:
    """(K', D) features at the kept stock positions, with the method's replacements where it merges."""
    stock = visual.required("stock_features", "The model")
    features = stock[places.to(stock.device)]
    if selection is None or selection.features is None:
        return features
    tokens, _ = stock_positions(visual.size, visual.newline_after)
    at = torch.searchsorted(places, tokens[selection.indices.cpu()])
    features = features.clone()
    features[at.to(features.device)] = selection.features.to(features)
    return features


def build_batch(
    rows: Sequence[Row],
    *,
    pad_token_id: int,
    newline: str = "drop",
    positions: str | Sequence[str] = "contiguous",
) -> Batch:
    """Drop what is not kept from every row, pad on the left, and hand the features over.

    positions: "contiguous" (position ids without gaps) or "original" (kept tokens keep the position ids
    they had), one for all rows or one a row.
    """
    wanted = [positions] * len(rows) if isinstance(positions, str) else list(positions)
    for choice in wanted:
        if choice not in POSITIONS:
            raise UnknownNameError(f"positions must be one of {', '.join(POSITIONS)}; got {choice!r}.")
    ids, places, features, n_newline = [], [], [], []
    for row, choice in zip(rows, wanted, strict=True):
        stays, found, newlines = _kept_of_row(row, newline)
        ids.append(row.ids[stays.to(row.ids.device)])
        places.append(stays if choice == "original" else torch.arange(stays.numel()))
        features += found
        n_newline.append(newlines)
    device = rows[0].ids.device
    # With gaps in the position ids and no mask, a run without cache would be taken for packed sequences.
    extra = 1 if "original" in wanted else 0
    length = max(one.numel() for one in ids) + extra
    arguments: dict[str, Any] = {
        "input_ids": torch.stack([_pad(one, length, pad_token_id) for one in ids]),
        "attention_mask": torch.stack([_pad(torch.ones_like(one), length, 0) for one in ids]),
    }
    if "original" in wanted:
        arguments["position_ids"] = torch.stack([_pad(one, length, 0) for one in places]).to(device)
    if features:
        arguments["mm_encoder_outputs"] = {"image": BaseModelOutputWithPooling(pooler_output=features)}
    return Batch(arguments, tuple(n_newline))


def _kept_of_row(row: Row, newline: str) -> tuple[Tensor, list[Tensor], int]:
    stays = torch.ones(row.ids.numel(), dtype=torch.bool)
    features, newlines = [], 0
    for image in row.images:
        places, count = kept_places(image.visual, image.selection, newline)
        end = image.start + image.visual.stock_size
        if end > row.ids.numel():
            raise InputError(f"The prompt ends at token {row.ids.numel()}, inside an image that ends at {end}.")
        stays[image.start : end] = False
        stays[image.start + places] = True
        features.append(kept_features(image.visual, image.selection, places))
        newlines += count
    return stays.nonzero()[:, 0], features, newlines


def _pad(values: Tensor, length: int, value: int) -> Tensor:
    return functional.pad(values, (length - values.numel(), 0), value=value)
