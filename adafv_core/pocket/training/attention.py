"""Attention for training: many question blocks share one image prefix, and chosen attention rows are recorded.

Plain matrix products, whose backward pass is faster than SDPA's on a CPU. Prefix and blocks are computed separately,
so that no question attends to another and no fully masked block of scores is computed.
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
    prefix_attention: list[Tensor] = field(default_factory=list)
    block_attention: list[Tensor] = field(default_factory=list)


_layouts: list[_Layout] = []


@contextmanager
def shared_prefix(
    shared: int, blocks: int, rows: Tensor, columns: slice, layers: tuple[int, ...]
) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """Within the context, a sequence is `shared` prefix positions followed by `blocks` blocks of equal length.

    rows: (B, blocks) int64, the recorded query position of each block, counted from the start of the block. Yields two
    lists, which every forward pass appends to: each of `layers` appends to the first list the attention from `rows` to
    `columns` of the prefix, (B, heads, blocks, columns) float32; layer 0 appends to the second list the attention from
    `rows` to their own block, (B, heads, blocks, length) float32.
    """
    _layouts.append(_Layout(shared, blocks, rows, columns, layers))
    try:
        yield _layouts[-1].prefix_attention, _layouts[-1].block_attention
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
    if getattr(module, "layer_idx", None) is None:  # the vision tower: bidirectional, no prefix
        return (torch.softmax(query @ key.transpose(2, 3), -1) @ value).transpose(1, 2), None
    layout = _layouts[-1]
    shared = layout.shared
    sizes = [shared, query.shape[2] - shared]
    splits = [torch.split(tensor, sizes, 2) for tensor in (query, key, value)]
    (prefix_query, prefix_keys, prefix_values), (block_query, block_key, block_value) = zip(*splits, strict=True)
    scores = prefix_query @ prefix_keys.transpose(2, 3)
    prefix = torch.softmax(scores + _causal(shared, scores), -1) @ prefix_values
    own_query, own_key, own_value = (
        tensor.unflatten(2, (layout.blocks, -1)) for tensor in (block_query, block_key, block_value)
    )
    own = own_query @ own_key.transpose(3, 4)
    own = own + _causal(own.shape[-1], own)
    across = (block_query @ prefix_keys.transpose(2, 3)).unflatten(2, (layout.blocks, -1))
    attention = torch.softmax(torch.cat([across, own], -1), -1)
    on_prefix, on_own = torch.split(attention, [shared, attention.shape[-1] - shared], -1)
    blocks = on_prefix.flatten(2, 3) @ prefix_values + (on_own @ own_value).flatten(2, 3)
    if module.layer_idx in layout.layers:
        layout.prefix_attention.append(_recorded(layout, own_query, own, prefix_keys)[..., layout.columns])
    if module.layer_idx == 0:
        layout.block_attention.append(_recorded(layout, own_query, own, prefix_keys)[..., shared:])
    return torch.cat([prefix, blocks], 2).transpose(1, 2), None


def _recorded(layout: _Layout, own_query: Tensor, own: Tensor, prefix_keys: Tensor) -> Tensor:
    rows = layout.rows[:, None, :, None, None].expand(-1, own.shape[1], -1, 1, -1)
    row_query = own_query.gather(3, rows.expand(*rows.shape[:4], own_query.shape[-1])).squeeze(3)
    across = row_query @ prefix_keys.transpose(2, 3)
    own_rows = own.gather(3, rows.expand(*rows.shape[:4], own.shape[-1])).squeeze(3)
    return torch.softmax(torch.cat([across, own_rows], -1).float(), -1)


def _causal(length: int, like: Tensor) -> Tensor:
    return torch.full((length, length), -1e4, dtype=like.dtype, device=like.device).triu(1)


AttentionInterface.register(TRAINING, _training_attention)
