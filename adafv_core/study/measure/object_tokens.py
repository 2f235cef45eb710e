"""Which visual tokens lie on which object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adafv_core.grid import token_boxes
from adafv_core.study.data.base import DataSet
from adafv_core.types import TokenGrid

ON, OFF = 0.3, 0.06
"""A token is on an object that covers at least ON of its area, and off it if at most OFF is covered."""


def coverage(mask: NDArray[np.float32], grid: TokenGrid) -> Tensor:
    """(N,) float32: the fraction of each token's area that the object covers.

    mask: (height, width) float32 in 0..1, in pixels of the original picture. Padding beyond the picture counts as not
    covered. Token edges are rounded to whole pixels; a token narrower than a pixel is one pixel wide.
    """
    height, width = mask.shape
    sums = np.zeros((height + 1, width + 1), dtype=np.float64)
    sums[1:, 1:] = mask.astype(np.float64).cumsum(0).cumsum(1)
    boxes = token_boxes(grid).numpy()
    edges = np.round(boxes).astype(np.int64)
    edges[:, 2:] = np.maximum(edges[:, 2:], edges[:, :2] + 1)
    area = (edges[:, 2] - edges[:, 0]) * (edges[:, 3] - edges[:, 1])
    left, right = (edges[:, side].clip(0, width) for side in (0, 2))
    top, bottom = (edges[:, side].clip(0, height) for side in (1, 3))
    inside = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    return torch.from_numpy((inside / area).astype(np.float32))


@dataclass(frozen=True)
class ObjectTokens:
    """All objects of one picture on the token grid. covers: object id → (N,) float32 coverage."""

    size: int
    covers: dict[int, Tensor]

    def on(self, object_id: int) -> Tensor:
        """(N,) bool: covered by at least ON; for an object too small for that, the token that it covers most."""
        cover = self.covers[object_id]
        on = cover >= ON
        if not bool(on.any()) and float(cover.max()) > 0:
            on = cover == cover.max()
        return on

    def on_any(self, object_ids: Sequence[int]) -> Tensor:
        """(N,) bool: on at least one of these objects."""
        on = torch.zeros(self.size, dtype=torch.bool)
        for object_id in object_ids:
            on |= self.on(object_id)
        return on

    def off_all(self, object_ids: Sequence[int]) -> Tensor:
        """(N,) bool: covered by at most OFF by each of these objects, and on none of them."""
        off = ~self.on_any(object_ids)
        for object_id in object_ids:
            off &= self.covers[object_id] <= OFF
        return off


def object_tokens(data: DataSet, image: str, grid: TokenGrid) -> ObjectTokens:
    """All objects of a picture on its token grid."""
    covers = {object_id: coverage(data.object_mask(image, object_id), grid) for object_id in data.object_ids(image)}
    return ObjectTokens(grid.size, covers)
