"""Families that cut a picture into tiles of one size and show the LLM tile after tile, then the whole picture."""

from __future__ import annotations

from adafv_core.types import Crop, TokenGrid


def tiled_grid(image_size: tuple[int, int], tiles: tuple[int, int], side: tuple[int, int]) -> TokenGrid:
    """The grid of a picture that was stretched over `tiles` (down, across), each of `side` (rows, columns) tokens.

    image_size: (width, height) in pixels. Tiles come row by row and are named by row and column from 1; the whole
    picture, "base", comes last, and alone where tiles is (0, 0).
    """
    width, height = image_size
    down, across = tiles
    rows, cols = side
    crops = [
        Crop(
            f"tile {row + 1}, {col + 1}",
            rows,
            cols,
            (width * col / across, height * row / down, width * (col + 1) / across, height * (row + 1) / down),
            (row * across + col) * rows * cols,
        )
        for row in range(down)
        for col in range(across)
    ]
    base = Crop("base", rows, cols, (0.0, 0.0, float(width), float(height)), down * across * rows * cols)
    return TokenGrid(image_size, (*crops, base))


def tiles_of(grid: TokenGrid) -> tuple[int, int]:
    """Tiles (down, across) of such a grid, (0, 0) for the whole picture alone."""
    tops = [crop.box[1] for crop in grid.crops[:-1]]
    across = tops.count(tops[0]) if tops else 0
    return (len(tops) // across if across else 0), across
