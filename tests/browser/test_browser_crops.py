"""An any-resolution model, and a full queue, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from helpers.app_context import many_crops_address, short_queue
from helpers.browser import settled
from helpers.full_queue import FRIENDLY, full_queue
from helpers.tiny_models import picture
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
