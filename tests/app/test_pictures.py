"""Payload, overlays and charts: made from plain values, checked against them."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.app_context import question, shared_context
from PIL import Image

from adafv_core.saved_run.read import UNKNOWN_SALIENCY
from adafv_core.types import Crop, TokenGrid, Why
from app.saved_runs.levels import mixed_levels, plain_levels
from app.saved_runs.overlay import Maps, heat_overlay, kept_overlay, overlay_sheet
from app.serving.sessions import Session
from app.sweep.charts import agreement_figure, kl_figure
from app.sweep.rows import SweepRow
from app.wire.look import COLOR_MAPS, Look
from app.wire.payload import PICTURE_SIDE_PX, payload, slider_ratios

GRID = TokenGrid((90, 60), (Crop("base", 2, 3, (0.0, 0.0, 90.0, 60.0), 0),))
TWO_CROPS = TokenGrid(
    (90, 60), (Crop("base", 1, 1, (0.0, 0.0, 90.0, 60.0), 0), Crop("tiles", 2, 3, (0.0, 0.0, 90.0, 60.0), 1))
)

STRIPS = TokenGrid(
    (90, 60), (Crop("base", 2, 1, (0.0, 0.0, 90.0, 60.0), 0), Crop("tiles", 2, 3, (0.0, 10.0, 90.0, 50.0), 2))
)


def unpacked(text: str, kind: str) -> np.ndarray[Any, Any]:
    return np.frombuffer(base64.b64decode(text), kind)


def test_the_payload_holds_the_scores_exactly_and_the_path_of_every_budget() -> None:
    from adafv_core.mixing import budget_path

    run = shared_context().first.run
    assert run is not None
    body = json.loads(shared_context().first.payload)
    assert body["n"] == 196 and body["rule"] == "split" and body["set_choice"] is True
    assert unpacked(body["t2i"], "<f4").tolist() == run.scores.t2i.tolist()
    assert unpacked(body["saliency"], "<f4").tolist() == run.scores.saliency.tolist()
    path = budget_path(run.scores.t2i, run.scores.saliency)
    assert unpacked(body["path_text"], "<u4").tolist() == path.k_text.tolist()
    assert unpacked(body["path_vision"], "<u4").tolist() == path.k_visual.tolist()
    for word, row in zip(body["words"], run.scores.word_t2i, strict=True):
        steps = unpacked(word["map"], "<u2").astype(float) / 65_535 * word["peak"]
        assert steps == pytest.approx(row.numpy(), abs=word["peak"] / 60_000)
    assert len(shared_context().first.payload) < 600_000


def test_slider_ratios_ascend_and_hold_the_paper_s_ratios() -> None:
    ratios = slider_ratios()
    assert list(ratios) == sorted(set(ratios)) and ratios[-1] == 1.0
    assert {0.05, 0.1, 0.25} <= set(ratios)


def test_another_temperature_is_ranked_and_drawn() -> None:
    from adafv_core.scoring import rescored_t2i

    context = shared_context()
    run = context.service.score(Session("pocket"), question())
    chosen = {"method": "adafv", "options": {"temperature": 10.0}, "keep_ratio": 0.1, "key": "k"}
    body = json.loads(payload(run.scores, run.picture, lambda k: None, **chosen))  # type: ignore[arg-type, return-value]
    assert unpacked(body["t2i"], "<f4").tolist() == rescored_t2i(run.scores, 10.0).tolist()
    counted = [word for word in body["words"] if word["counted"]]
    highest = np.max([unpacked(word["map"], "<u2") / 65_535 * word["peak"] for word in counted], axis=0)
    assert highest == pytest.approx(rescored_t2i(run.scores, 10.0).numpy(), abs=1e-4)


def test_large_pictures_are_sent_small_and_exported_large() -> None:
    from app.wire.payload import data_url

    sent = base64.b64decode(data_url(Image.new("RGB", (3000, 1500), "navy")).split(",")[1])
    import io

    assert Image.open(io.BytesIO(sent)).size == (PICTURE_SIDE_PX, PICTURE_SIDE_PX // 2)
    assert sheet_of(3000, 1500).size == (2 * 3000 + 12, 2 * (1500 + 28) + 12)


def sheet_of(width: int, height: int, word: str = "") -> Image.Image:
    """The sheet of a black picture of this size under 2 × 3 patches, all dropped."""
    none, box = np.zeros(6), (0.0, 0.0, float(width), float(height))
    maps = Maps(none, none, none, none.astype(bool), none.astype(np.int8), word)
    grid = TokenGrid((width, height), (Crop("base", 2, 3, box, 0),))
    return overlay_sheet(Image.new("RGB", (width, height)), grid, maps)


@pytest.mark.parametrize("size", [(64, 48), (30, 900), (20, 20)])
@pytest.mark.parametrize("word", ["", "chrysanthemum"])
def test_captions_of_small_pictures_are_whole_and_apart(size: tuple[int, int], word: str) -> None:
    sheet, wide = (np.asarray(sheet_of(*one, word)) for one in (size, (400, size[1])))
    column = (sheet.shape[1] - 12) // 2
    for row in (0, 1):
        top = row * (size[1] + 28 + 12)
        for left, place in ((0, 0), (column + 12, 400 + 12)):
            caption, whole = sheet[top : top + 28, left : left + column], wide[top : top + 28, place : place + 400]
            assert np.array_equal(caption, whole[:, :column]) and (whole[:, column:] == 255).all()
            panel = sheet[top + 28 : top + 28 + size[1], left : left + column]
            assert (panel[:, size[0] :] == 255).all() and (panel[:, : size[0]] < 255).any(axis=2).all()
        assert (sheet[top : top + 28, column : column + 12] == 255).all()


def test_the_sheet_says_which_saliency_it_draws() -> None:
    """By the caption of the second map alone; a run of version 0.1 does not know, and says nothing."""
    run, selection = shared_context().service.selected(Session("pocket"), question())
    maps = Maps.of(run.scores, selection)
    assert maps.source == "[CLS] attention"
    unknown = replace(run.scores, visual=replace(run.scores.visual, saliency_source=UNKNOWN_SALIENCY))
    named, bare = (
        np.asarray(overlay_sheet(run.picture, run.scores.visual.grid, one))
        for one in (maps, Maps.of(unknown, selection))
    )
    places = np.argwhere((named != bare).any(axis=2))
    assert places.size and places[:, 0].max() < 28 and places[:, 1].min() > run.picture.width


def test_color_maps_rise_in_lightness() -> None:
    for table in COLOR_MAPS.values():
        light = table.astype(float) @ (0.2126, 0.7152, 0.0722)
        assert table.shape == (256, 3) and (np.diff(light) > -0.5).all() and light[-1] - light[0] > 150


def test_the_highest_token_has_the_highest_color() -> None:
    values = np.array([0, 0, 0, 0, 4, 0], float)
    drawn = np.asarray(heat_overlay(Image.new("RGB", (90, 60)), GRID, plain_levels(values), "cividis", 1.0))
    assert tuple(drawn[45, 45]) == tuple(COLOR_MAPS["cividis"][255])
    assert tuple(drawn[15, 15]) == tuple(COLOR_MAPS["cividis"][0])


def test_kept_patches_stay_clear_and_dropped_ones_are_dimmed() -> None:
    kept = np.array([True, False, False, False, False, False])
    why = np.where(kept, int(Why.VISION), 0).astype(np.int8)
    picture = Image.new("RGB", (90, 60), (10, 60, 20))
    drawn = np.asarray(kept_overlay(picture, GRID, kept, why)).astype(int)
    assert tuple(drawn[12, 12]) == (10, 60, 20)
    assert (drawn[45, 75] - (10, 60, 20)).min() > 100
    assert abs(drawn[1, 15] - drawn[12, 12]).sum() > 30, "an outline, not color alone"


def test_stitched_crops_show_the_larger_value() -> None:
    values = np.array([1, 0, 0, 0, 0, 0, 4], float)
    drawn = np.asarray(heat_overlay(Image.new("RGB", (90, 60)), TWO_CROPS, plain_levels(values), "viridis", 1.0))
    assert tuple(drawn[45, 75]) == tuple(COLOR_MAPS["viridis"][255])
    assert tuple(drawn[15, 15]) == tuple(COLOR_MAPS["viridis"][128])


def test_where_only_the_base_crop_saw_the_image_its_own_cells_show() -> None:
    values = np.array([4, 0, 0, 0, 0, 0, 0, 0], float)
    drawn = np.asarray(heat_overlay(Image.new("RGB", (90, 60)), STRIPS, plain_levels(values), "viridis", 1.0))
    assert tuple(drawn[5, 45]) == tuple(COLOR_MAPS["viridis"][255])
    assert tuple(drawn[55, 45]) == tuple(COLOR_MAPS["viridis"][0])
    kept, picture = values > 0, Image.new("RGB", (90, 60), (10, 60, 20))
    drawn = np.asarray(kept_overlay(picture, STRIPS, kept, np.where(kept, int(Why.FORCED), 0).astype(np.int8)))
    assert tuple(drawn[5, 30]) == (10, 60, 20) and min(drawn[55, 45]) > 100
    assert abs(drawn[0, 30].astype(int) - (10, 60, 20)).sum() > 30, "an outline, not color alone"


def test_the_mixed_panel_of_a_sheet_parts_kept_from_dropped_by_color() -> None:
    mixed = np.array([0.0, 0.25, 0.99, 1.0, 2.0, 4.0], float)
    assert mixed_levels(mixed) == pytest.approx([0, 0.25, 0.4975, 0.55, 0.775, 1], abs=1e-3)
    assert mixed_levels(np.ones(3)).tolist() == [1, 1, 1] and mixed_levels(np.zeros(3)).tolist() == [0, 0, 0]
    maps = Maps(mixed, mixed, mixed, mixed >= 1, (mixed >= 1).astype(np.int8))
    sheet = np.asarray(overlay_sheet(Image.new("RGB", (90, 60)), GRID, maps, Look(opacity=1.0)))
    panel = sheet[60 + 28 + 12 + 28 :, :90]
    for token, level in enumerate(mixed_levels(mixed)):
        spot = panel[30 * (token // 3) + 15, 30 * (token % 3) + 15]
        assert tuple(spot) == tuple(COLOR_MAPS["cividis"][round(255 * level)])


def test_the_sweep_figure_has_one_line_a_method_in_both_charts() -> None:
    rows = [SweepRow("full", 1.0, 9, 9, "red", True, 0.0, 0.1, 1, 1)]
    for method in ("adafv", "random"):
        rows += [SweepRow(method, ratio, 9, 1, "red", ratio > 0.1, 0.5 * ratio, 0.1, 1, 1) for ratio in (0.25, 0.1)]
    kl, agreement = kl_figure(rows), agreement_figure(rows)
    for figure in (kl, agreement):
        assert [trace.name for trace in figure.data] == ["AdaFV", "Random"]
        assert len({(trace.marker.symbol, trace.line.dash, trace.line.color) for trace in figure.data}) == 2
    assert list(kl.data[0].x) == [10.0, 25.0] and list(kl.data[0].y) == [0.05, 0.125]
    assert torch.tensor(agreement.data[0].y, dtype=torch.float64).round().tolist() == [0.0, 1.0]


def test_a_kl_that_is_not_known_is_a_gap_and_a_tiny_one_is_told_as_it_is() -> None:
    found = {0.5: -1e-12, 0.25: 2e-9, 0.1: None, 0.05: 0.5}
    kl = kl_figure([SweepRow("adafv", ratio, 9, 1, "red", True, nats, 0.1, 1, 1) for ratio, nats in found.items()])
    (line,) = kl.data
    assert list(line.x) == [5.0, 10.0, 25.0, 50.0]
    assert list(line.y) == [0.5, None, 1e-6, 1e-6] and list(line.customdata) == [0.5, None, 2e-9, 0.0]
    assert "%{customdata" in line.hovertemplate and "%{y" not in line.hovertemplate and not line.connectgaps
    assert kl.layout.title.subtitle.text == "values below 0.000001 are drawn there; gaps: unknown"
    assert kl_figure([SweepRow("adafv", 0.1, 9, 1, "red", True, 0.5, 0.1, 1, 1)]).layout.title.subtitle.text == ""
