"""Where each visual token lies: token ↔ (crop, row, column) ↔ box in pixels of the original image.

Everything in this file is plain geometry; the adapters in `models/` decide which crops a picture has.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from adafv_core.checks import check_choice
from adafv_core.types import NEWLINES, Crop, Selection, TokenGrid, VisualTokens

Box = tuple[float, float, float, float]


def token_boxes(grid: TokenGrid) -> Tensor:
    """(N, 4) float64: left, top, right, bottom of every visual token in pixels of the original image.

    A box may reach beyond the picture where the processor padded it.
    """
    return torch.cat([_cell_boxes(crop) for crop in grid.crops])


def _cell_boxes(crop: Crop) -> Tensor:
    left, top, right, bottom = crop.box
    xs = torch.linspace(left, right, crop.cols + 1, dtype=torch.float64)
    ys = torch.linspace(top, bottom, crop.rows + 1, dtype=torch.float64)
    corners = (xs[:-1], ys[:-1], xs[1:], ys[1:])
    by_row = (False, True, False, True)
    planes = [
        side[:, None].expand(crop.rows, crop.cols) if vertical else side[None, :].expand(crop.rows, crop.cols)
        for side, vertical in zip(corners, by_row, strict=True)
    ]
    return torch.stack(planes, dim=-1).reshape(crop.size, 4)


def row_numbers(grid: TokenGrid) -> Tensor:
    """(N,) int64: the row of each token, numbered consecutively over all crops in LLM order."""
    rows = []
    first = 0
    for crop in grid.crops:
        rows.append(first + torch.arange(crop.rows).repeat_interleave(crop.cols))
        first += crop.rows
    return torch.cat(rows)


def newlines_to_keep(grid: TokenGrid, kept: Tensor, newline_after: Tensor) -> Tensor:
    """(R,) bool: for each newline token, whether a token of the row it ends is kept.

    kept: (N,) bool. newline_after: (R,) int64, the visual token that each newline follows. A newline that ends a whole
    picture instead of a row (a single crop) belongs to the last row.
    """
    rows = row_numbers(grid).to(kept.device)
    occupied = torch.zeros(int(rows[-1]) + 1, dtype=torch.bool, device=kept.device)
    occupied[rows[kept]] = True
    return occupied[rows[newline_after.to(kept.device)]]


def stock_positions(size: int, newline_after: Tensor | None) -> tuple[Tensor, Tensor]:
    """Positions of visual tokens and newline tokens in the sequence that stock transformers passes to the LLM.

    Returns (N,) and (R,) int64 positions in 0..N+R-1.
    """
    tokens = torch.arange(size)
    if newline_after is None or newline_after.numel() == 0:
        return tokens, torch.empty(0, dtype=torch.int64)
    after = newline_after.cpu()
    shift = torch.bincount(after + 1, minlength=size + 1)
    return tokens + shift.cumsum(0)[:size], after + 1 + torch.arange(after.numel())


def kept_places(visual: VisualTokens, selection: Selection | None, newline: str) -> tuple[Tensor, int]:
    """Which of the image's M stock tokens stay (ascending int64 on the CPU), and how many of them are newline tokens.

    newline: "drop", or "rows" to keep those that end a row with a kept token. If all N tokens are kept, so are all
    newline tokens. Raises UnknownNameError for any other value.
    """
    check_choice("newline", newline, NEWLINES)
    size, n_stock = visual.saliency.shape[0], visual.stock_size
    if selection is None or (selection.indices.shape[0] == size and selection.features is None):
        return torch.arange(n_stock), n_stock - size
    tokens, newlines = stock_positions(size, visual.newline_after)
    places = tokens[selection.indices.cpu()]
    if newline == "drop" or visual.newline_after is None:
        return places, 0
    closing = newlines[newlines_to_keep(visual.grid, selection.kept.cpu(), visual.newline_after.cpu())]
    return torch.cat((places, closing)).sort().values, closing.numel()


def square_box(
    image_size: tuple[int, int],
    *,
    pad_to_square: bool,
    resized: tuple[int, int] | int | None,
    cropped: tuple[int, int] | None,
) -> Box:
    """The part of the original picture that the vision encoder sees after a resize and center crop.

    image_size: (width, height) in pixels. resized: (width, height), or one number for the shortest edge, or
    None for no resize. cropped: (width, height) of the center crop, or None. The box is in original pixels;
    it is smaller than the picture if the crop cuts off its ends, and larger if padding was added.
    """
    width, height = image_size
    shift_x = shift_y = 0.0
    if pad_to_square:
        side = max(width, height)
        shift_x, shift_y = float((side - width) // 2), float((side - height) // 2)
        width = height = side
    if resized is None:
        new_width, new_height = width, height
    elif isinstance(resized, tuple):
        new_width, new_height = resized
    elif width <= height:
        new_width, new_height = resized, int(resized * height / width)
    else:
        new_width, new_height = int(resized * width / height), resized
    left, top, right, bottom = 0, 0, new_width, new_height
    if cropped is not None:
        left, right = _center(new_width, cropped[0])
        top, bottom = _center(new_height, cropped[1])
    scale_x, scale_y = width / new_width, height / new_height
    return (
        left * scale_x - shift_x,
        top * scale_y - shift_y,
        right * scale_x - shift_x,
        bottom * scale_y - shift_y,
    )


def _center(length: int, cropped: int) -> tuple[int, int]:
    start = (length - cropped) // 2 if cropped <= length else -math.ceil((cropped - length) / 2)
    return start, start + cropped


def unpadded_box(
    image_size: tuple[int, int],
    canvas: tuple[int, int],
    cells: tuple[int, int],
    kept_cells: tuple[int, int],
) -> Box:
    """The part of the original picture covered by the stitched, un-padded tile grid of an any-resolution model.

    The picture was scaled to fit `canvas` (width, height; pixels), keeping its aspect ratio, and centered;
    the canvas has `cells` (columns, rows) tokens, of which the middle `kept_cells` remain after un-padding.
    In original pixels; un-padding removes whole tokens, so the box may extend beyond the picture by up to one token on
    each side.
    """
    width, height = image_size
    scale_x, scale_y = canvas[0] / width, canvas[1] / height
    if scale_x < scale_y:
        shown = (canvas[0], min(math.ceil(height * scale_x), canvas[1]))
    else:
        shown = (min(math.ceil(width * scale_y), canvas[0]), canvas[1])
    left, right = _unpadded_side(width, canvas[0], cells[0], kept_cells[0], shown[0])
    top, bottom = _unpadded_side(height, canvas[1], cells[1], kept_cells[1], shown[1])
    return left, top, right, bottom


def _unpadded_side(pixels: int, canvas: int, cells: int, kept: int, shown: int) -> tuple[float, float]:
    """One axis of `unpadded_box`: first and last original pixel covered by the kept cells."""
    pitch = canvas / cells
    first = (cells - kept) // 2 * pitch
    pasted_at = (canvas - shown) // 2
    scale = pixels / shown
    return (first - pasted_at) * scale, (first + kept * pitch - pasted_at) * scale
