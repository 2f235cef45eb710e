"""Attention for training: one picture shared by many question blocks, and attention rows that can be recorded.

Plain products, which on a CPU go backward quicker than SDPA. Visual prefix and blocks are handled apart, so that
no question sees another and no masked square is computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

TRAINING = "pocket_training"


@dataclass
class _Layout:
    shared: int
    blocks: int
    rows: Tensor
    columns: slice
    layers: tuple[int, ...]
    seen: list[Tensor] = field(default_factory=list)
    read: list[Tensor] = field(default_factory=list)


_layouts: list[_Layout] = []


@contextmanager
def shared_prefix(
    shared: int, blocks: int, rows: Tensor, columns: slice, layers: tuple[int, ...]
) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """While open, sequences are `shared` prefix positions and then `blocks` blocks of equal length.

    Yields two lists. The named layers append to the first what the positions `rows` (B, blocks; counted within the
    block) attend to in `columns` of the prefix, as (B, heads, blocks, columns) float32; layer 0 appends to the second
    what they attend to in their own block, (B, heads, blocks, length).
    """
    _layouts.append(_Layout(shared, blocks, rows, columns, layers))
    try:
        yield _layouts[-1].seen, _layouts[-1].read
    finally:
        _layouts.pop()


def _training_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    query = query * query.shape[-1] ** -0.5
    if getattr(module, "layer_idx", None) is None:
        return (torch.softmax(query @ key.transpose(2, 3), -1) @ value).transpose(1, 2), None
    layout = _layouts[-1]
    shared = layout.shared
    sizes = [shared, query.shape[2] - shared]
    parts = [torch.split(part, sizes, 2) for part in (query, key, value)]
    (prefix_query, prefix_keys, prefix_values), (block_query, block_key, block_value) = zip(*parts, strict=True)
    scores = prefix_query @ prefix_keys.transpose(2, 3)
    prefix = torch.softmax(scores + _causal(shared, scores), -1) @ prefix_values
    own_query, own_key, own_value = (
        part.unflatten(2, (layout.blocks, -1)) for part in (block_query, block_key, block_value)
    )
    own = own_query @ own_key.transpose(3, 4)
    own = own + _causal(own.shape[-1], own)
    across = (block_query @ prefix_keys.transpose(2, 3)).unflatten(2, (layout.blocks, -1))
    attention = torch.softmax(torch.cat([across, own], -1), -1)
    on_prefix, on_own = torch.split(attention, [shared, attention.shape[-1] - shared], -1)
    blocks = on_prefix.flatten(2, 3) @ prefix_values + (on_own @ own_value).flatten(2, 3)
    if module.layer_idx in layout.layers:
        layout.seen.append(_recorded(layout, own_query, own, prefix_keys)[..., layout.columns])
    if module.layer_idx == 0:
        layout.read.append(_recorded(layout, own_query, own, prefix_keys)[..., shared:])
    return torch.cat([prefix, blocks], 2).transpose(1, 2), None


def _recorded(layout: _Layout, own_query: Tensor, own: Tensor, prefix_keys: Tensor) -> Tensor:
    rows = layout.rows[:, None, :, None, None].expand(-1, own.shape[1], -1, 1, -1)
    looking = own_query.gather(3, rows.expand(*rows.shape[:4], own_query.shape[-1])).squeeze(3)
    across = looking @ prefix_keys.transpose(2, 3)
    own_rows = own.gather(3, rows.expand(*rows.shape[:4], own.shape[-1])).squeeze(3)
    return torch.softmax(torch.cat([across, own_rows], -1).float(), -1)


def _causal(length: int, like: Tensor) -> Tensor:
    return torch.full((length, length), -1e4, dtype=like.dtype, device=like.device).triu(1)


AttentionInterface.register(TRAINING, _training_attention)
