"""What a set of prompts needs to run through stock `generate`: shortened before the LLM, or hooks inside
it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from adafv_core.cost import fastv_tokens
from adafv_core.engine.batch import PlacedImage, Row, build_batch
from adafv_core.engine.layer_pruning import ONE_PREFILL, LayerPruning, prune_inside
from adafv_core.engine.score import wanted_positions
from adafv_core.errors import InputError
from adafv_core.models.base import Adapter
from adafv_core.types import Selection, VisualTokens


@dataclass(frozen=True)
class Plan:
    """Arguments for `generate`, and afterwards what was kept.

    arguments: left-padded input_ids, attention_mask, encoder outputs. length: L', their padded length.
    """

    arguments: dict[str, Any]
    length: int
    adapter: Adapter
    rows: tuple[Row, ...]
    newlines: tuple[int, ...]
    inside: LayerPruning | None = None

    def selections(self, row: int) -> tuple[Selection, ...]:
        """What was kept of each image of a row; known after the prefill where it happens inside the LLM."""
        if self.inside is not None:
            if not self.inside.selections:
                raise InputError(ONE_PREFILL)
            return self.inside.selections[row]
        return tuple(image.selection for image in self.rows[row].images if image.selection is not None)

    def n_newline(self, row: int) -> int:
        """Newline tokens kept in a row."""
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
    method: Any,
    budget_of: Callable[[VisualTokens], int],
    *,
    pad_token_id: int,
    newline: str,
    positions: str | None,
    given: Sequence[Selection | None] = (),
) -> Iterator[Plan]:
    """Make the rows ready to run.

    For a method before the LLM every image must have its selection, and what is not kept never enters the
    LLM. With `method.inside_llm` the rows go in whole and the method decides at its layer, by hooks that
    are removed on the way out. given: selections made before, one a row, followed instead of deciding anew.
    """
    if not method.inside_llm:
        per_row = [
            positions or next((wanted_positions(one.selection) for one in row.images if one.selection), "contiguous")
            for row in rows
        ]
        batch = build_batch(rows, pad_token_id=pad_token_id, newline=newline, positions=per_row)
        length = batch.arguments["input_ids"].shape[1]
        yield Plan(batch.arguments, length, adapter, tuple(rows), batch.n_newline)
        return

    def choose(attention: Tensor, visual: VisualTokens, row: int) -> Selection:
        before = given[row] if row < len(given) else None
        if before is not None:
            return before
        layers = len(adapter.language_model.layers)
        selection: Selection = method.select_from_attention(attention, budget_of(visual), layers)
        return selection

    whole = [replace(row, images=tuple(PlacedImage(one.start, one.visual) for one in row.images)) for row in rows]
    batch = build_batch(whole, pad_token_id=pad_token_id)
    length = batch.arguments["input_ids"].shape[1]
    encoded = batch.arguments.get("mm_encoder_outputs")
    features = encoded["image"].pooler_output if encoded else ()
    with prune_inside(adapter, whole, choose, method.layer, newline, features) as inside:
        yield Plan(batch.arguments, length, adapter, tuple(whole), batch.n_newline, inside)
