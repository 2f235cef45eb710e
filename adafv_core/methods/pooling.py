"""Average pooling: a coarser grid, the baseline that keeps a little of everything."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from adafv_core.greedy import evenly_over
from adafv_core.methods.base import Choice, Method, keep
from adafv_core.types import Crop, TokenScores


@dataclass(frozen=True, eq=False)
class Pooling(Method):
    """Average pooling (baseline): each crop's grid is coarsened, one mean token replacing the tokens of each cell.

    Every crop gets a share of the budget by its size and is divided into the best-fitting grid of at most that many
    cells (the most cells, then the squarest). The token at a cell's center represents it, at that position, with the
    mean of the cell's projected features. Not every number of cells forms a grid, so fewer than K tokens may stay;
    `budget` of the selection is their number. Uses neither score.
    """

    name: ClassVar[str] = "pooling"
    title: ClassVar[str] = "Average pooling"
    keeps: ClassVar[str] = "a coarser grid of mean tokens (baseline); at most K"
    reads_t2i: ClassVar[bool] = False
    exact: ClassVar[bool] = False

    def choose(self, scores: TokenScores, budget: int) -> Choice:
        features = scores.visual.required("features", self.name)
        crops = scores.visual.grid.crops
        whole = scores.size
        shares = [budget * crop.size // whole for crop in crops]
        rest = [crop.size - share for crop, share in zip(crops, shares, strict=True)]
        extra = evenly_over(rest, budget - sum(shares))
        centers, means = [], []
        for crop, share, more in zip(crops, shares, extra, strict=True):
            if share + more:
                at, mean = pooled(features, crop, share + more)
                centers.append(at)
                means.append(mean)
        indices = torch.cat(centers)
        order = indices.argsort()
        kept = keep(indices, whole)
        merged = None if indices.shape[0] == whole else torch.cat(means)[order].to(features.dtype)
        return Choice(kept, features=merged, budget=int(indices.shape[0]))


def coarse_grid(rows: int, cols: int, cells: int) -> tuple[int, int]:
    """(rows, cols) of the largest grid with at most `cells` cells that is no finer than the crop's; ties: the one whose
    cells are closest to square.
    """
    best = (1, 1)
    for down in range(1, min(rows, cells) + 1):
        across = min(cols, cells // down)
        better = (down * across, -abs(math.log(rows * across / (down * cols))))
        if better > (best[0] * best[1], -abs(math.log(rows * best[1] / (best[0] * cols)))):
            best = (down, across)
    return best


def pooled(features: Tensor, crop: Crop, share: int) -> tuple[Tensor, Tensor]:
    """Index of the token at each cell's center, (cells,) int64, and the mean of each cell's tokens, (cells, D)."""
    down, across = coarse_grid(crop.rows, crop.cols, share)
    device = features.device
    row_of, col_of = (torch.arange(n, device=device) * m // n for n, m in ((crop.rows, down), (crop.cols, across)))
    cell = (row_of[:, None] * across + col_of[None]).flatten()
    tokens = features[crop.offset : crop.offset + crop.size].float()
    total = torch.zeros(down * across, tokens.shape[1], device=device).index_add_(0, cell, tokens)
    size = torch.zeros(down * across, device=device).index_add_(0, cell, torch.ones_like(cell, dtype=torch.float32))
    middle_row = ((torch.arange(down, device=device) * 2 + 1) * crop.rows) // (2 * down)
    middle_col = ((torch.arange(across, device=device) * 2 + 1) * crop.cols) // (2 * across)
    centers = crop.offset + (middle_row[:, None] * crop.cols + middle_col[None]).flatten()
    return centers, total / size[:, None]
