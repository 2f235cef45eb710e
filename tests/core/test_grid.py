from __future__ import annotations

import pytest
import torch

from adafv_core import grid as places
from adafv_core.types import Crop, TokenGrid

GRID = TokenGrid(
    (80, 60), (Crop("base", 2, 3, (0.0, 0.0, 80.0, 60.0), 0), Crop("tiles", 4, 2, (-10.0, 0.0, 90.0, 60.0), 6))
)


def test_boxes_tile_each_crop() -> None:
    boxes = places.token_boxes(GRID)
    assert boxes.shape == (14, 4)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    assert area[:6].sum() == pytest.approx(80 * 60)
    assert area[6:].sum() == pytest.approx(100 * 60)
    assert boxes[4].tolist() == pytest.approx([80 / 3, 30, 160 / 3, 60])
    assert boxes[7].tolist() == pytest.approx([40, 0, 90, 15])


def test_boxes_run_row_by_row_through_each_crop() -> None:
    corners = [
        (left + col * (right - left) / crop.cols, top + row * (bottom - top) / crop.rows)
        for crop in GRID.crops
        for left, top, right, bottom in [crop.box]
        for row in range(crop.rows)
        for col in range(crop.cols)
    ]
    torch.testing.assert_close(places.token_boxes(GRID)[:, :2], torch.tensor(corners, dtype=torch.float64))


def test_newlines_follow_rows_with_a_kept_token() -> None:
    after = torch.tensor([7, 9, 11, 13])
    kept = torch.zeros(14, dtype=torch.bool)
    kept[[0, 8, 13]] = True
    assert places.newlines_to_keep(GRID, kept, after).tolist() == [False, True, False, True]


def test_stock_positions_interleave_tokens_and_newlines() -> None:
    tokens, newlines = places.stock_positions(14, torch.tensor([7, 9, 11, 13]))
    assert newlines.tolist() == [8, 11, 14, 17]
    assert sorted(tokens.tolist() + newlines.tolist()) == list(range(18))
    assert tokens[7] == 7 and tokens[8] == 9 and tokens[13] == 16
    assert places.stock_positions(3, None)[0].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("size", "options", "box"),
    [
        ((200, 100), {"pad_to_square": False, "resized": 50, "cropped": (50, 50)}, (50, 0, 150, 100)),
        ((100, 200), {"pad_to_square": False, "resized": 50, "cropped": (50, 50)}, (0, 50, 100, 150)),
        ((100, 200), {"pad_to_square": False, "resized": (50, 50), "cropped": None}, (0, 0, 100, 200)),
        ((100, 200), {"pad_to_square": True, "resized": (50, 50), "cropped": None}, (-50, 0, 150, 200)),
        ((40, 40), {"pad_to_square": False, "resized": None, "cropped": (20, 20)}, (10, 10, 30, 30)),
        ((20, 20), {"pad_to_square": False, "resized": None, "cropped": (40, 40)}, (-10, -10, 30, 30)),
    ],
)
def test_square_box(size: tuple[int, int], options: dict, box: tuple) -> None:
    assert places.square_box(size, **options) == pytest.approx(box)


def test_unpadded_box_of_a_wide_picture() -> None:
    """100 × 40 on a 200 × 200 canvas: scaled by two, 80 pixels high, 60 of padding above; 20 pixels a token."""
    assert places.unpadded_box((100, 40), (200, 200), (10, 10), (10, 4)) == pytest.approx((0, 0, 100, 40))
    assert places.unpadded_box((100, 40), (200, 200), (10, 10), (10, 6)) == pytest.approx((0, -10, 100, 50))
