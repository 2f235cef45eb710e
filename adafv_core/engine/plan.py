"""Prepares one stock `generate` call: prune the prompts beforehand, or install hooks that prune inside the LLM."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

from torch import Tensor

from adafv_core.cost import fastv_tokens
from adafv_core.engine.batch import Row, build_batch, check_positions
from adafv_core.engine.layer_pruning import ONE_PREFILL, LayerPruning, prune_inside
from adafv_core.errors import InputError
from adafv_core.methods import Method
from adafv_core.models.base import Adapter
from adafv_core.types import Selection, VisualTokens


class _InsideMethod(Protocol):
    """What a method with `inside_llm` has besides."""

    layer: int

    def select_from_attention(self, attention: Tensor, budget: int, layers: int) -> Selection: ...


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

    def selections(self, row: int) -> tuple[Selection, ...]:
        """One Selection per image of a row; inside the LLM they are known once the prefill is done."""
        if self.inside is not None:
            if not self.inside.selections:
                raise InputError(ONE_PREFILL)
            return self.inside.selections[row]
        return tuple(image.selection for image in self.rows[row].images if image.selection is not None)

    def n_newline(self, row: int) -> int:
        """Number of newline tokens kept in a row."""
        return self.newlines[row] if self.inside is None else self.inside.n_newline[row]

    def layer_tokens(self, row: int) -> tuple[int, ...] | None:
        """Sequence length in each LLM layer where they differ, else None."""
        if self.inside is None:
            return None
        layers = len(self.adapter.language_model.layers)
        return fastv_tokens(layers, self.inside.layer, self.rows[row].ids.numel(), self.inside.lengths[row])


@contextmanager
def planned(
    adapter: Adapter,
    rows: Sequence[Row],
    method: Method | None,
    budget_of: Callable[[VisualTokens], int],
    *,
    pad_token_id: int,
    newline: str,
    positions: str | None,
    given: Sequence[Selection | None] = (),
) -> Iterator[Plan]:
    """Prepare the rows for one `generate` call within the block.

    method: with `inside_llm`, the rows go in whole and the method selects at its layer, by hooks that are removed on
    the way out. Any other, or None: every image in the rows has its selection already, and tokens that are not kept
    never enter the LLM. positions: for all rows, or None for those each selection was made with. given: per row, a
    selection made inside the LLM earlier, which is followed instead of selecting anew.
    """
    check_positions(adapter, positions)
    if method is None or not method.inside_llm:
        per_row = [positions or positions_of(adapter, row) for row in rows]
        batch = build_batch(adapter, rows, pad_token_id=pad_token_id, newline=newline, positions=per_row)
        length = batch.arguments["input_ids"].shape[1]
        yield Plan(batch.arguments, length, adapter, tuple(rows), batch.n_newline)
        return
    inside = cast(_InsideMethod, method)

    def choose(attention: Tensor, visual: VisualTokens, row: int) -> Selection:
        before = given[row] if row < len(given) else None
        if before is not None:
            return before
        layers = len(adapter.language_model.layers)
        made = inside.select_from_attention(attention, budget_of(visual), layers)
        return replace(made, image_key=visual.image_key, model_key=visual.model_key)

    whole = [row.whole() for row in rows]
    batch = build_batch(adapter, whole, pad_token_id=pad_token_id)
    length = batch.arguments["input_ids"].shape[1]
    encoded = batch.arguments.get("mm_encoder_outputs", {}).get("image")
    with prune_inside(adapter, whole, choose, inside.layer, newline, encoded) as pruning:
        yield Plan(batch.arguments, length, adapter, tuple(whole), batch.n_newline, pruning)


def positions_of(adapter: Adapter, row: Row) -> str | None:
    """The kind of position ids that the selections in a row were made with, or None where the family has its own."""
    made = (one.selection for one in row.images if one.selection is not None)
    wanted = next((one.positions for one in made if one.positions), None)
    return wanted if wanted in adapter.POSITIONS else None
