"""From kept tokens to the arguments of stock `generate`, or to hooks that prune inside the LLM.

The prompt keeps its placeholder ids, only fewer of them, and the features go in as ready encoder outputs
(`mm_encoder_outputs`), so everything after that is stock transformers: caches, beams, sampling, streamers. Engine and
`prune` both build their inputs here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from adafv_core.engine.layer_pruning import ONE_PREFILL, LayerPruning, prune_inside
from adafv_core.engine.request import Request
from adafv_core.errors import InputError, PromptError, UnknownNameError
from adafv_core.grid import kept_places, stock_positions
from adafv_core.methods import Method
from adafv_core.methods.inside import InsideMethod
from adafv_core.models.base import Adapter
from adafv_core.types import POSITIONS, PlacedImage, Row, Selection, VisualTokens


@dataclass(frozen=True)
class Batch:
    """Left-padded arguments for `generate`.

    arguments: input_ids and attention_mask (B, L'), mm_encoder_outputs, and position_ids, (B, L') or (4, B, L'), where
    they are not the default ones. n_newline: newline tokens kept, one count per row.
    """

    arguments: dict[str, Any]
    n_newline: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """Arguments for `generate`, and what is kept of each row.

    arguments: left-padded input_ids, attention_mask and encoder outputs. length: L', their padded length.
    """

    arguments: dict[str, Any]
    length: int
    adapter: Adapter
    rows: tuple[Row, ...]
    newlines: tuple[int, ...]
    inside: LayerPruning | None = None

    def kept(self, row: int) -> tuple[tuple[Selection, ...], int]:
        """What is kept of a row: one Selection per image, and the number of newline tokens.

        Inside the LLM they are known once the prefill is done.
        """
        if self.inside is None:
            made = (image.selection for image in self.rows[row].images)
            return tuple(one for one in made if one is not None), self.newlines[row]
        if not self.inside.decided:
            raise InputError(ONE_PREFILL)
        return self.inside.selections(row), self.inside.n_newline(row)

    def layer_tokens(self, row: int) -> tuple[int, ...] | None:
        """Sequence length in each LLM layer where they differ, else None."""
        return None if self.inside is None else self.inside.layer_tokens(row)


def row_from_template(
    adapter: Adapter, ids: Sequence[int], images: Sequence[tuple[VisualTokens, Selection | None]]
) -> Row:
    """A prompt in which each image is still one placeholder, with the placeholders written out.

    ids: token ids of the template and the user's words. images: one per placeholder, in order. Raises PromptError
    where their numbers differ.
    """
    count = list(ids).count(adapter.image_token_id)
    if count != len(images):
        raise PromptError(f"The prompt has {count} image placeholders for {len(images)} images.")
    left = iter(images)
    written: list[int] = []
    for one in ids:
        written += adapter.image_ids(next(left)[0]) if one == adapter.image_token_id else [one]
    return row_from_ids(adapter, torch.tensor(written, device=adapter.device), images)


def row_from_ids(adapter: Adapter, ids: Tensor, images: Sequence[tuple[VisualTokens, Selection | None]]) -> Row:
    """A prompt as the processor writes it, its image tokens dealt out to its images in order.

    ids: (L,) int64, without padding. Raises PromptError where the numbers of tokens differ.
    """
    places = (ids == adapter.image_token_id).nonzero()[:, 0].cpu()
    needed = [visual.stock_size for visual, _ in images]
    if sum(needed) != places.numel():
        raise PromptError(
            f"A prompt has {places.numel()} image tokens; its {len(needed)} images need {sum(needed)}. Pass input_ids "
            "and pixel_values of one processor call."
        )
    dealt = torch.split(places, needed)
    return Row(ids, tuple(PlacedImage(at, *image) for at, image in zip(dealt, images, strict=True)))


def kept_features(visual: VisualTokens, selection: Selection | None, places: Tensor) -> Tensor:
    """(K', D) features of the kept stock tokens, with the method's replacements where it merges tokens."""
    features = visual.stock_features_at(places)
    if selection is None or selection.features is None:
        return features
    tokens, _ = stock_positions(visual.saliency.shape[0], visual.newline_after)
    at = torch.searchsorted(places, tokens[selection.indices.cpu()])
    features = features.clone()  # may be the image's own
    features[at.to(features.device)] = selection.features.to(features)
    return features


@contextmanager
def planned(
    adapter: Adapter,
    rows: Sequence[Row],
    request: Request,
    method: Method | None,
    budgets_of: Callable[[Row], Sequence[int]],
    *,
    pad_token_id: int,
    given: Sequence[Sequence[Selection]] = (),
) -> Iterator[Plan]:
    """Prepare the rows for one `generate` call within the block.

    request: of it `newline` and `positions` count: for all rows, or None for those each selection was made with.
    method: with `inside_llm`, the rows go in whole and the method selects at its layer, by hooks that are removed on
    the way out. Any other, or None: every image in the rows has its selection already, and tokens that are not kept
    never enter the LLM. budgets_of: K for each image of a row, for methods inside the LLM. given: per row, the
    selections made inside the LLM earlier, one per image, which are followed instead of selecting anew.
    """
    per_row = [positions_of(adapter, row, request.positions) for row in rows]
    if not isinstance(method, InsideMethod):
        batch = build_batch(adapter, rows, pad_token_id=pad_token_id, newline=request.newline, positions=per_row)
        length = batch.arguments["input_ids"].shape[1]
        yield Plan(batch.arguments, length, adapter, tuple(rows), batch.n_newline)
        return
    whole = [row.whole() for row in rows]
    batch = build_batch(adapter, whole, pad_token_id=pad_token_id)
    length = batch.arguments["input_ids"].shape[1]
    encoded = batch.arguments.get("mm_encoder_outputs", {}).get("image")
    made = next((one.positions for selections in given for one in selections if one.positions), None)
    wanted = request.positions or made or method.positions
    pruning = prune_inside(
        adapter,
        whole,
        method,
        budgets_of,
        newline=request.newline,
        positions=wanted if wanted in adapter.POSITIONS else adapter.POSITIONS[0],
        encoded=encoded,
        given=given,
    )
    with pruning as inside:
        yield Plan(batch.arguments, length, adapter, tuple(whole), batch.n_newline, inside)


def positions_of(adapter: Adapter, row: Row, positions: str | None = None) -> str | None:
    """The kind of position ids of a row: those asked for, else those that its selections were made with, else None, the
    family's own.

    Raises UnknownNameError for a name that does not exist, InputError for position ids this family cannot have.
    """
    if positions is None:
        made = (one.selection.positions for one in row.images if one.selection is not None)
        wanted = next((one for one in made if one), None)
        return wanted if wanted in adapter.POSITIONS else None
    if positions in adapter.POSITIONS:
        return positions
    if positions not in POSITIONS:
        raise UnknownNameError(f"positions must be one of {', '.join(POSITIONS)}; got {positions!r}.")
    raise InputError(
        f"Image tokens of {adapter.model_class} have positions in time, height and width, which kept tokens keep; "
        f"positions={positions!r} is not defined for it: leave positions out, or pass {adapter.POSITIONS[0]!r}."
    )


def build_batch(
    adapter: Adapter,
    rows: Sequence[Row],
    *,
    pad_token_id: int,
    newline: str = "drop",
    positions: Sequence[str | None] | None = None,
) -> Batch:
    """Drop what is not kept from every row, pad on the left, and hand the features over.

    positions: per row "contiguous" (position ids without gaps), "original" (kept tokens keep the position ids they
    had), or None, the family's own; see `positions_of`.
    """
    wanted = [None] * len(rows) if positions is None else list(positions)
    kept = [_kept_of_row(row, newline) for row in rows]
    ids = [row.ids[one.stays.to(row.ids.device)] for row, one in zip(rows, kept, strict=True)]
    arguments = _padded(adapter, rows, ids, [one.stays for one in kept], wanted, pad_token_id)
    if any(one.features for one in kept):
        arguments["mm_encoder_outputs"] = {
            "image": adapter.encoder_output(
                [features for one in kept for features in one.features],
                [features for one in kept for features in one.layer_features],
            )
        }
    return Batch(arguments, tuple(one.n_newline for one in kept))


@dataclass(frozen=True)
class _KeptOfRow:
    """stays: (L',) int64 kept positions of the prompt. features, layer_features: per image, as kept."""

    stays: Tensor
    features: list[Tensor]
    layer_features: list[Tensor]
    n_newline: int


def _kept_of_row(row: Row, newline: str) -> _KeptOfRow:
    stays = torch.ones(row.ids.numel(), dtype=torch.bool)
    features, layer_features, newlines = [], [], 0
    for image in row.images:
        places, count = kept_places(image.visual, image.selection, newline)
        stays[image.places] = False
        stays[image.places[places]] = True
        features.append(kept_features(image.visual, image.selection, places))
        if image.visual.layer_features is not None:
            # A token that a method merged from several keeps the DeepStack features of the token in whose place it is.
            layer_features.append(image.visual.layer_features[:, places.to(image.visual.layer_features.device)])
        newlines += count
    return _KeptOfRow(stays.nonzero()[:, 0], features, layer_features, newlines)


def _padded(
    adapter: Adapter,
    rows: Sequence[Row],
    ids: Sequence[Tensor],
    stays: Sequence[Tensor],
    positions: Sequence[str | None],
    pad_token_id: int,
) -> dict[str, Any]:
    device = rows[0].ids.device
    on_left = partial(pad_sequence, batch_first=True, padding_side="left")
    several = [adapter.position_ids(row.ids, [image.visual for image in row.images]) for row in rows]
    arguments: dict[str, Any] = {
        "input_ids": on_left(list(ids), padding_value=pad_token_id),
        "attention_mask": on_left([torch.ones_like(one) for one in ids]),
    }
    if several[0] is None and "original" in positions:
        numbers = [
            one if choice == "original" else torch.arange(one.numel())
            for one, choice in zip(stays, positions, strict=True)
        ]
        arguments["position_ids"] = on_left(numbers).to(device)
        # With gaps in the position ids and no mask, a run without cache would be taken for packed sequences.
        for name, filler in (("input_ids", pad_token_id), ("attention_mask", 0), ("position_ids", 0)):
            arguments[name] = functional.pad(arguments[name], (1, 0), value=filler)
    axes = [
        torch.cat((torch.arange(one.numel(), device=device)[None], at[:, one.to(device)].to(device)))
        for one, at in zip(stays, several, strict=True)
        if at is not None
    ]
    if axes:
        # As stock prepares them: a running count for the mask, then time, height and width.
        arguments["position_ids"] = on_left([one.T for one in axes]).permute(2, 0, 1).contiguous()
    return arguments
