"""An any-resolution model, and a full queue, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.app_context import many_crops_address, many_crops_context, short_queue
from helpers.browser import settled
from helpers.full_queue import FRIENDLY, full_queue
from helpers.tiny_models import picture
from PIL import Image
from playwright.sync_api import Page, expect

PANELS = ("t2i", "saliency", "mixed", "kept")
BANDS = """(name) => {
  const canvas = document.querySelector(`canvas[data-panel=${name}]`), box = adafv.page.scores.crops[1].box;
  const share = -box[1] / (box[3] - box[1]), edge = Math.floor(share * canvas.height);
  const context = canvas.getContext("2d");
  const read = (top, rows) => context.getImageData(0, top, canvas.width, rows).data.join();
  return [read(0, edge - 2), read(edge + 4, Math.floor(canvas.height / 2) - edge)];
}"""


def test_crops_stitched_and_alone_with_padding_hatched(open_page: Callable[..., Page], tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    picture(150, 100).save(photo)
    page = open_page(at=many_crops_address())
    page.set_input_files("#question-image input[type=file]", photo)
    page.wait_for_timeout(800)
    page.get_by_role("button", name="Ask", exact=True).click()
    page.wait_for_function("adafv.page.scores.size.join() === '150,100'", timeout=60_000)
    settled(page)
    crops = page.evaluate("adafv.page.scores.crops")
    assert [crop["name"] for crop in crops] == ["base", "tiles"] and crops[1]["box"][1] < 0
    menu = page.get_by_label("Crop", exact=True)
    assert menu.locator("option").all_inner_texts() == ["stitched", "base alone", "tiles alone"]
    shape = "(() => { const c = document.querySelector('canvas[data-panel=kept]'); return c.width / c.height; })()"
    box = crops[1]["box"]
    assert abs(page.evaluate(shape) - 150 / (box[3] - box[1])) < 0.02
    before = [page.evaluate(BANDS, name) for name in PANELS]
    page.evaluate("document.querySelectorAll('*').forEach((one) => one.style.setProperty('--stage-hatch', 'red'))")
    page.evaluate("adafv.page.notify('look')")
    page.wait_for_timeout(200)
    for (beyond, inside), (beyond_now, inside_now) in zip(
        before, (page.evaluate(BANDS, name) for name in PANELS), strict=True
    ):
        assert beyond != beyond_now, "the padding that was cut away is not hatched"
        assert inside == inside_now, "something inside the image is hatched"
    whole = [page.evaluate(f"document.querySelector('canvas[data-panel={name}]').toDataURL()") for name in PANELS]
    assert len(set(whole)) == 4
    page.hover("canvas[data-panel=saliency]", position={"x": 90, "y": 90})
    pointed = page.evaluate("adafv.page.pointed")
    assert len(pointed) == 2 and pointed[0] >= crops[1]["offset"] > pointed[1]
    page.mouse.move(5, 5)
    menu.select_option("base")
    assert abs(page.evaluate(shape) - 1.5) < 0.02
    page.hover("canvas[data-panel=saliency]", position={"x": 90, "y": 90})
    assert len(page.evaluate("adafv.page.pointed")) == 1


def test_a_full_queue_is_told_in_the_page(open_page: Callable[..., Page]) -> None:
    page = open_page(at=short_queue()[1])
    with full_queue() as jobs:
        page.get_by_role("button", name="Ask", exact=True).click()
        expect(page.get_by_text(FRIENDLY).first).to_be_visible(timeout=30_000)
    assert all(job.result(timeout=120)["n_kept"] == 20 for job in jobs)
    page.get_by_role("button", name="Ask", exact=True).click()
    page.wait_for_timeout(300)
    settled(page)
    assert page.locator(".answer").first.get_attribute("data-state") == "done"


BRIGHTEST = """(change) => {
  const canvas = document.querySelector("canvas[data-panel=t2i]"), context = canvas.getContext("2d");
  const page = adafv.page;
  const draw = (values) => {
    page.scores.t2i = Float32Array.from(values);
    page.notify("look");
    return context.getImageData(0, 0, canvas.width, canvas.height).data;
  };
  page.crop = "tiles";
  page.notify("crop");
  const before = draw(change.map(() => 0)), after = draw(change), box = page.scores.crops[1].box;
  const moved = (i) => Math.abs(after[i] - before[i]) + Math.abs(after[i + 1] - before[i + 1]);
  let most = 0;
  for (let i = 0; i < after.length; i += 4) most = Math.max(most, moved(i));
  let sum = [0, 0], count = 0;
  for (let i = 0; i < after.length; i += 4) {
    if (moved(i) < 0.98 * most) continue;
    sum = [sum[0] + ((i / 4) % canvas.width), sum[1] + Math.floor(i / 4 / canvas.width)];
    count += 1;
  }
  return [
    box[0] + ((sum[0] / count + 0.5) / canvas.width) * (box[2] - box[0]),
    box[1] + ((sum[1] / count + 0.5) / canvas.height) * (box[3] - box[1]),
    count / (after.length / 4),
  ];
}"""


@pytest.mark.parametrize("middle", [(40, 30), (110, 70)], ids=str)
def test_a_bright_patch_lights_the_box_that_the_page_draws(
    open_page: Callable[..., Page], tmp_path: Path, middle: tuple[int, int]
) -> None:
    """Pixels are changed; what the model's features change by, per visual token, is drawn on the page's own canvas."""
    gray, photo = Image.new("RGB", (150, 100), (110, 110, 110)), tmp_path / "patched.png"
    patched, (x, y) = gray.copy(), middle
    patched.paste((255, 255, 255), (x - 10, y - 10, x + 10, y + 10))
    patched.save(photo)
    pool = many_crops_context().service.pool
    engine = pool.engine(pool.first)
    dark, bright = engine.encode(gray), engine.encode(patched)
    change = (bright.features - dark.features).norm(dim=-1)
    page = open_page(at=many_crops_address())
    page.set_input_files("#question-image input[type=file]", photo)
    page.wait_for_timeout(800)
    page.get_by_role("button", name="Ask", exact=True).click()
    page.wait_for_function("adafv.page.scores.size.join() === '150,100'", timeout=60_000)
    settled(page)
    assert page.evaluate("adafv.page.scores.n") == bright.size == change.numel()
    at_x, at_y, share = page.evaluate(BRIGHTEST, change.tolist())
    tiles = bright.grid.crops[1]
    width, height = (tiles.box[2] - tiles.box[0]) / tiles.cols, (tiles.box[3] - tiles.box[1]) / tiles.rows
    assert abs(at_x - x) <= width / 2 + 10 and abs(at_y - y) <= height / 2 + 10, (at_x, at_y, middle)
    assert 0 < share < 4 / tiles.size, "more than the patch is lit"
