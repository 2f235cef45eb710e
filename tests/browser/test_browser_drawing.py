"""What is painted: the controls of the maps, their legends, crops beneath others, and pictures of any shape."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from helpers.sent_payload import made_scores, sent
from helpers.shown import LLAVA_NEXT, PANELS, pixels, scores_on, still_page, with_words
from PIL import Image
from playwright.sync_api import Page, expect

from adafv_core.types import CLS_ATTENTION, RECEIVED_ATTENTION, Crop
from app.saved_runs.levels import mixed_levels, plain_levels
from app.wire.look import COLOR_MAPS, SCALES

KEPT_FILL = [0xC9, 0xC7, 0xBF]
HEATS = {"t2i", "saliency", "mixed"}
SHAPE = """() => {
  const canvas = document.querySelector('canvas[data-panel=saliency]'), style = getComputedStyle(canvas);
  const pads = ['Top', 'Bottom', 'Left', 'Right'].map((side) => parseFloat(style['padding' + side]));
  return { pixels: [canvas.width, canvas.height], hit: [canvas.offsetWidth, canvas.offsetHeight],
    drawn: [canvas.offsetWidth - pads[2] - pads[3], canvas.offsetHeight - pads[0] - pads[1]] };
}"""
COLOR = """([name, x, y]) => {
  const canvas = document.querySelector(`canvas[data-panel=${name}]`);
  const at = [Math.round(x * canvas.width), Math.round(y * canvas.height)];
  return Array.from(canvas.getContext("2d").getImageData(...at, 1, 1).data).slice(0, 3);
}"""


def changed(page: Page, before: dict[str, str]) -> set[str]:
    return {name for name in PANELS if pixels(page, name) != before[name]}


def set_opacity(page: Page, percent: int) -> None:
    page.get_by_label("Opacity of the maps").fill(str(percent))


CONTROLS: dict[str, tuple[Callable[[Page], object], Callable[[Page], object], set[str]]] = {
    "opacity": (lambda page: set_opacity(page, 30), lambda page: set_opacity(page, 78), HEATS),
    "colors": (
        lambda page: page.get_by_label("Colors").select_option("viridis"),
        lambda page: page.get_by_label("Colors").select_option("cividis"),
        HEATS,
    ),
    "linear": (
        lambda page: page.get_by_label("Scale").select_option("linear"),
        lambda page: page.get_by_label("Scale").select_option("root"),
        HEATS,
    ),
    "rank": (
        lambda page: page.get_by_label("Scale").select_option("rank"),
        lambda page: page.get_by_label("Scale").select_option("root"),
        HEATS,
    ),
    "image": (
        lambda page: page.get_by_label("Image", exact=True).last.uncheck(),
        lambda page: page.get_by_label("Image", exact=True).last.check(),
        set(PANELS),
    ),
}


@pytest.mark.parametrize("control", CONTROLS)
def test_each_control_repaints_the_maps_and_takes_it_back(open_page: Callable[..., Page], control: str) -> None:
    there, back, wanted = CONTROLS[control]
    page = still_page(open_page)
    before = {name: pixels(page, name) for name in PANELS}
    there(page)
    assert changed(page, before) == wanted
    back(page)
    assert changed(page, before) == set()


def test_every_word_button_shows_its_own_map_and_takes_it_back(open_page: Callable[..., Page]) -> None:
    page = still_page(open_page)
    before = {name: pixels(page, name) for name in PANELS}
    words = page.locator(".word")
    seen = set()
    for i in range(1, words.count()):
        words.nth(i).click()
        expect(words.nth(i)).to_have_attribute("aria-pressed", "true")
        assert page.locator(".word[aria-pressed=true]").count() == 1
        assert changed(page, before) == {"t2i"}
        seen.add(pixels(page, "t2i"))
    assert len(seen) == words.count() - 1
    words.first.click()
    assert changed(page, before) == set()


def test_a_chosen_word_is_told_wherever_its_map_is_shown(open_page: Callable[..., Page]) -> None:
    page = still_page(open_page)
    label, note = page.locator("canvas[data-panel=t2i]"), page.locator(".panel-t2i .panel-note")
    page.hover("canvas[data-panel=t2i]", position={"x": 90, "y": 90})
    token = page.evaluate("adafv.page.pointed[0]")
    for _ in range(2):
        expect(label).to_have_attribute("aria-label", "T2I similarity of 196 visual tokens to the prompt")
        expect(page.locator(".values dt", has_text="alone")).to_have_count(0)
        word = page.locator(".word", has_text="yellow")
        word.evaluate("(button) => button.click()")
        expect(label).to_have_attribute("aria-label", "T2I similarity of 196 visual tokens to “yellow” alone")
        at = "adafv.page.scores.words[adafv.page.word].map[adafv.page.pointed[0]]"
        value = page.evaluate(f"adafv.format.value({at})")
        assert page.evaluate("adafv.page.pointed") == [token]
        expect(page.locator(".values dt", has_text="“yellow” alone")).to_have_count(1)
        assert page.locator(".values dt:has-text('“yellow” alone') + dd").inner_text() == value
        word.evaluate("(button) => button.click()")
    page.locator(".panels").focus()
    page.locator(".word", has_text="yellow").evaluate("(button) => button.click()")
    page.keyboard.press("ArrowLeft")
    value = page.evaluate(f"adafv.format.value({at})")
    expect(page.locator("#live-summary")).to_contain_text(f"“yellow” alone {value}")
    page.set_viewport_size({"width": 390, "height": 844})
    expect(note).to_be_visible()
    expect(note).to_have_text("“yellow” alone")
    page.locator(".word").first.click()
    expect(note).to_be_hidden()


def test_the_brush_is_laid_down_where_a_method_takes_no_marks(open_page: Callable[..., Page]) -> None:
    page = still_page(open_page)
    scores = made_scores(1, ((7, 9),), ties=False)
    brush = page.get_by_role("button", name="Force drop")
    touch = "getComputedStyle(document.querySelector('.panels canvas')).touchAction"
    brush.click()
    assert page.evaluate(touch) == "none"
    load = "(text) => { adafv.page.load(JSON.parse(text)); adafv.page.notify('scores'); }"
    page.evaluate(load, sent(scores, "saliency", {}))
    expect(brush).to_be_disabled()
    expect(brush).to_have_attribute("aria-pressed", "false")
    expect(page.get_by_role("button", name="Inspect")).to_have_attribute("aria-pressed", "true")
    assert page.evaluate(touch) == "pan-y" and page.evaluate("adafv.page.brush") == "point"
    expect(page.get_by_role("button", name="Clear marks")).to_be_hidden()


def test_the_captions_are_true_of_the_model_and_the_method(open_page: Callable[..., Page]) -> None:
    scores = made_scores(1, ((7, 9),), ties=False)
    scores = replace(scores, visual=replace(scores.visual, saliency_source=RECEIVED_ATTENTION))
    page = still_page(open_page)
    expect(page.locator(".panel-saliency .panel-note")).to_have_text(CLS_ATTENTION)
    expect(page.locator(".panel-mixed b")).to_have_text("Mixed score")
    load = "(text) => { adafv.page.load(JSON.parse(text)); adafv.page.notify('scores'); }"
    page.evaluate(load, sent(scores, "saliency", {}))
    expect(page.locator(".panel-saliency .panel-note")).to_have_text(RECEIVED_ATTENTION)
    expect(page.locator(".panel-mixed b")).to_have_text("Score of the method")


def test_the_legends_say_what_the_colors_mean(open_page: Callable[..., Page]) -> None:
    page = still_page(open_page)
    high = page.evaluate("Math.max(...adafv.page.scores.t2i)")
    most = page.evaluate("Math.max(...adafv.page.result.mixed)")
    value = "(x) => adafv.format.value(x)"
    for scale, share in (("root", 0.25), ("linear", 0.5), ("rank", None)):
        page.get_by_label("Scale").select_option(scale)
        ticks = page.locator(".panel-t2i .tick").all_inner_texts()
        mixed = page.locator(".panel-mixed .tick").all_inner_texts()
        assert mixed[1] == "≥ 1 kept"
        if share is None:
            assert ticks == ["last", "", "first of 196"] and mixed[::2] == ["last", "first"]
        else:
            assert ticks == ["0", page.evaluate(value, share * high), page.evaluate(value, high)]
            assert mixed[::2] == ["0", page.evaluate(value, most)]
        middle = page.evaluate("(x) => adafv.scale.plain([x, 1], adafv.page.scale).places[0]", share or 0)
        assert middle == pytest.approx(0.5 if share else 0)
    places = page.evaluate("[0, 0.999999, 1, 7].map((x, i, all) => adafv.scale.mixed(all, 'rank').places[i])")
    assert places == pytest.approx([0, 0.5, 0.55, 1])
    page.set_viewport_size({"width": 390, "height": 844})
    for scale in ("root", "rank"):
        page.get_by_label("Scale").select_option(scale)
        for panel in HEATS:
            boxes = [box.bounding_box() for box in page.locator(f".panel-{panel} .tick:not(:empty)").all()]
            ends = [(box["x"], box["x"] + box["width"]) for box in boxes if box]
            assert all(left[1] + 4 <= right[0] for left, right in pairwise(ends)), (panel, scale)


def test_saved_pictures_have_the_page_s_colors(open_page: Callable[..., Page]) -> None:
    page = still_page(open_page)
    for values, name, levels in (
        ("scores.saliency", "plain", plain_levels),
        ("result.mixed", "mixed", mixed_levels),
    ):
        made = np.array(page.evaluate(f"Array.from(adafv.page.{values})"))
        for scale in SCALES:
            found = page.evaluate(f"Array.from(adafv.scale.{name}(adafv.page.{values}, '{scale}').places)")
            assert levels(made, scale) == pytest.approx(found, abs=1e-6), (name, scale)


def patches(picture: Image.Image) -> np.ndarray:
    """The mean color of each of the 14 × 14 patches."""
    return np.asarray(picture.convert("RGB").resize((14, 14), Image.Resampling.BOX)).astype(int)


@pytest.mark.parametrize("with_image", [True, False], ids=["image", "no image"])
def test_a_saved_picture_looks_as_the_page_does(
    open_page: Callable[..., Page], tmp_path: Path, with_image: bool
) -> None:
    """Colors, opacity, scale, word, and whether the image shows."""
    page = still_page(open_page)
    page.get_by_label("Colors").select_option("viridis")
    page.get_by_label("Scale").select_option("linear")
    page.locator(".word", has_text="yellow").click()
    set_opacity(page, 40)
    page.get_by_label("Image", exact=True).last.set_checked(with_image)
    with page.expect_download() as told:
        page.get_by_role("button", name="Save PNG").click()
    told.value.save_as(tmp_path / "sheet.png")
    sheet = Image.open(tmp_path / "sheet.png")
    side = (sheet.width - 12) // 2
    for panel, name in enumerate(PANELS[:3]):
        left, top = (panel % 2) * (side + 12), (panel // 2) * (side + 28 + 12) + 28
        saved = patches(sheet.crop((left, top, left + side, top + side)))
        page.locator(f".panel-{name} .panel-title").click()
        painted = patches(Image.open(io.BytesIO(base64.b64decode(pixels(page, name).split(",")[1]))))
        assert np.abs(saved - painted).max() <= 6, name
        assert np.abs(saved - saved.mean(axis=(0, 1))).max() > 20, "there is something to compare"


def test_where_only_the_base_crop_saw_the_image_its_own_cells_show(open_page: Callable[..., Page]) -> None:
    """The tiles leave strips of 16 pixels at the top and at the bottom."""
    scores = scores_on((96, 128), Crop("base", 4, 4, (0, 0, 96, 128), 0), Crop("tiles", 6, 6, (0, 16, 96, 112), 16))
    page = still_page(open_page, scores)
    page.get_by_label("Image", exact=True).last.uncheck()
    tokens = [0, 1, 2, 3, 12, 13, 14, 15]
    for name, values in (("t2i", scores.t2i), ("saliency", scores.saliency)):
        levels = plain_levels(values.numpy().astype(float))
        for token in tokens:
            spot = [name, (token % 4 + 0.5) / 4, 0.06 if token < 4 else 0.94]
            wanted = COLOR_MAPS["cividis"][round(255 * levels[token])]
            assert np.abs(np.array(page.evaluate(COLOR, spot)) - wanted).max() <= 2
    page.evaluate("adafv.page.moveTo(adafv.page.nearest(adafv.page.scores.steps, 0.5))")
    kept = [bool(page.evaluate(f"adafv.page.result.kept[{token}]")) for token in tokens]
    assert len(set(kept)) == 2
    for token, stays in zip(tokens, kept, strict=True):
        spot = ["kept", (token % 4 + 0.5) / 4, 0.06 if token < 4 else 0.94]
        assert (page.evaluate(COLOR, spot) == KEPT_FILL) is stays, f"token {token}"


@pytest.mark.parametrize("size", [(60, 1000), (20, 4000), (1000, 60), (4000, 20)])
@pytest.mark.parametrize("width", [1440, 390])
def test_a_strip_of_a_picture_is_drawn_whole_and_can_be_hit(
    open_page: Callable[..., Page], size: tuple[int, int], width: int
) -> None:
    page = still_page(open_page, scores_on(size, Crop("base", 4, 4, (0, 0, *size), 0)), width=width, height=900)
    page.locator(".panel-saliency .panel-title").click()
    page.wait_for_timeout(200)
    shape = page.evaluate(SHAPE)
    assert max(shape["pixels"]) <= 2 * 800 and min(shape["hit"]) >= 23
    assert max(shape["drawn"]) <= 0.8 * 900 + 1
    long, short = (max, min) if size[0] > size[1] else (min, max)
    assert long(shape["drawn"]) == shape["drawn"][0] and short(shape["drawn"]) == shape["drawn"][1]
    assert shape["drawn"][0] / shape["drawn"][1] == pytest.approx(size[0] / size[1], rel=0.25)
    canvas = page.locator("canvas[data-panel=saliency]")
    canvas.scroll_into_view_if_needed()
    hit, drawn = shape["hit"], shape["drawn"]
    start = [(hit[axis] - drawn[axis]) / 2 for axis in (0, 1)]
    along = 0 if size[0] > size[1] else 1
    for i in range(4):
        at = [hit[axis] / 2 for axis in (0, 1)]
        at[along] = start[along] + (i + 0.5) / 4 * drawn[along]
        canvas.hover(position={"x": at[0], "y": at[1]})
        assert page.evaluate("adafv.page.pointed[0]") % 4 == i if along == 0 else True
        assert page.evaluate("adafv.page.pointed[0]") // 4 == i if along == 1 else True
    canvas.hover(position={"x": 1, "y": 1})
    assert page.evaluate("adafv.page.pointed") == [0], "beside the drawing, the nearest patch"


def test_a_fast_stroke_marks_every_patch_it_passes(open_page: Callable[..., Page]) -> None:
    page = still_page(open_page)
    page.get_by_role("button", name="Force keep").click()
    before = page.locator("canvas[data-panel=kept]").bounding_box()
    assert before is not None
    left, row = before["x"], before["y"] + before["height"] * 2.5 / 14
    page.mouse.move(left + 4, row)
    page.mouse.down()
    page.mouse.move(left + before["width"] / 2, row)
    page.mouse.move(left + before["width"] - 4, row)
    page.mouse.up()
    marked = "Array.from(adafv.page.forced.keys()).filter((i) => adafv.page.forced[i] > 0)"
    assert page.evaluate(marked) == list(range(28, 42))
    assert page.locator("canvas[data-panel=kept]").bounding_box() == before, "the maps moved under the stroke"
    page.mouse.move(left + 4, row + before["height"] / 2)
    page.mouse.down()
    page.mouse.up()
    assert len(page.evaluate(marked)) == 15, "a new stroke does not start where the last one ended"


def test_a_page_of_any_width_is_used_sensibly(open_page: Callable[..., Page]) -> None:
    page = still_page(open_page, with_words(made_scores(1, LLAVA_NEXT, ties=False), 400), width=2560, height=1300)
    box = page.locator(".gradio-container").bounding_box()
    assert box is not None and abs(box["x"] - (2560 - box["x"] - box["width"])) <= 16
    for width in (2560, 390):
        page.set_viewport_size({"width": width, "height": 900})
        row = page.locator(".words").bounding_box()
        assert row is not None and 60 < row["height"] <= 120
    page.locator(".word").last.press("Enter")
    expect(page.locator(".word").last).to_be_in_viewport()
    expect(page.locator(".panel-t2i .panel-note")).to_have_text("“word399” alone")


def test_an_answer_without_text_says_so(open_page: Callable[..., Page]) -> None:
    page = open_page()
    show = """(state) => {
      const place = document.createElement("div"), one = { state: state, text: " ", error: "" };
      adafv.mount("answers", place, null, { value: JSON.stringify({ pruned: one, full: null }) }, () => {});
      return Array.from(document.querySelectorAll(".answer-text"), (text) => text.textContent);
    }"""
    assert page.evaluate(show, "done") == ["(no text)", ""]
    assert page.evaluate(show, "running") == [" ", ""]
