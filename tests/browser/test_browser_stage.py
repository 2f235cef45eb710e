"""The large map and the three small ones, the values beside a patch, and what a change without asking does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.browser import settled
from PIL import Image
from playwright.sync_api import Page, expect

INSIDE = """() => {
  const box = document.querySelector(".values").getBoundingClientRect();
  return box.width > 0 && box.left >= 0 && box.top >= 0 && box.right <= innerWidth && box.bottom <= innerHeight;
}"""


def width(page: Page, name: str) -> float:
    return float(page.evaluate(f"document.querySelector('canvas[data-panel={name}]').clientWidth"))


def test_one_map_is_large_and_a_click_or_a_key_exchanges_it(open_page: Callable[..., Page]) -> None:
    page = open_page()
    for name, choose in (
        ("t2i", lambda: page.locator("canvas[data-panel=t2i]").click()),
        ("mixed", lambda: page.get_by_role("button", name="Mixed score").click()),
        ("saliency", lambda: page.locator(".panels").press("2")),
        ("kept", lambda: page.locator(".panels").press("4")),
    ):
        choose()
        others = {"t2i", "saliency", "mixed", "kept"} - {name}
        assert all(width(page, name) > 2.5 * width(page, other) for other in others)
        expect(page.locator(f".panel-{name} .panel-title")).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize("size", [(1280, 720), (1024, 768), (390, 844), (720, 450)])
def test_the_values_stand_inside_the_view_beside_the_patch(
    open_page: Callable[..., Page], size: tuple[int, int]
) -> None:
    page = open_page(*size)
    canvas = page.locator("canvas[data-panel=kept]")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    for across in (0.02, 0.5, 0.98):
        for down in (0.05, 0.5):
            canvas.hover(position={"x": across * box["width"], "y": down * box["height"]})
            expect(page.locator(".value-card dl")).to_contain_text("Kept from")
            assert page.evaluate(INSIDE)


def test_a_click_pins_the_values_and_escape_lets_go(open_page: Callable[..., Page]) -> None:
    page = open_page()
    canvas = page.locator("canvas[data-panel=kept]")
    canvas.click(position={"x": 100, "y": 100})
    pinned = page.locator(".value-place").inner_text()
    page.mouse.move(5, 5)
    expect(page.locator(".values")).to_be_visible()
    canvas.hover(position={"x": 300, "y": 300})
    assert page.locator(".value-place").inner_text() == pinned
    page.keyboard.press("Escape")
    expect(page.locator(".values")).to_be_hidden()
    page.locator(".panels").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert page.evaluate("adafv.page.pinned") is True
    page.keyboard.press("Enter")
    assert page.evaluate("adafv.page.pinned") is False


def test_a_tap_keeps_the_values_on_a_phone(open_page: Callable[..., Page]) -> None:
    page = open_page(390, 844, has_touch=True)
    canvas = page.locator("canvas[data-panel=kept]")
    canvas.scroll_into_view_if_needed()
    canvas.tap(position={"x": 60, "y": 60})
    page.wait_for_timeout(300)
    expect(page.locator(".values")).to_be_visible()
    assert page.evaluate(INSIDE)


def test_kept_from_names_the_least_budget_that_keeps_the_token(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.uncheck("#answer-while-sliding")
    found = page.evaluate(
        """() => {
          const { page, core } = adafv, wrong = [];
          for (let token = 0; token < page.scores.n; token += 7) {
            const first = core.firstKept(page.scores, token);
            const kept = page.scores.steps.map((_, i) => core.select(page.scores, i, null).kept[token]);
            if (kept.indexOf(1) !== first) wrong.push([token, first, kept.indexOf(1)]);
          }
          return wrong;
        }"""
    )
    assert found == []


def test_what_changed_without_asking_dims_what_is_shown(open_page: Callable[..., Page], tmp_path: Path) -> None:
    page = open_page()
    settled(page)
    line = page.locator(".stale-line")
    expect(line).to_be_hidden()
    page.locator("#prompt textarea").press_sequentially("?")
    expect(line).to_have_text("The question changed since: press Ask to update.")
    page.locator("#more .label-wrap").click()
    page.fill("#temperature input", "50")
    expect(line).to_have_text("The question and the settings changed since: press Ask to update.")
    picture = tmp_path / "one.png"
    Image.new("RGB", (64, 64), "teal").save(picture)
    page.set_input_files("#question-image input[type=file]", picture)
    expect(line).to_contain_text("picture")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(line).to_be_hidden()
    settled(page)
    page.get_by_role("button", name="New scene").click()
    expect(line).to_be_hidden()


def test_an_answer_of_another_budget_or_other_marks_is_dimmed(open_page: Callable[..., Page]) -> None:
    page = open_page()
    settled(page)
    page.uncheck("#answer-while-sliding")
    answers = page.locator(".answers")
    page.get_by_role("button", name="Keep 25 %").click()
    expect(answers).to_have_attribute("data-outdated", "")
    page.get_by_role("button", name="Keep 10 %").click()
    expect(answers).not_to_have_attribute("data-outdated", "")
    page.get_by_role("button", name="Force keep").click()
    page.locator("canvas[data-panel=kept]").click(position={"x": 12, "y": 12})
    expect(answers).to_have_attribute("data-outdated", "")
    page.get_by_role("button", name="Ask", exact=True).click()
    settled(page)
    expect(answers).not_to_have_attribute("data-outdated", "")


DROP = """async ([kind, color]) => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 40, height: 30 });
  const context = canvas.getContext("2d");
  context.fillStyle = color;
  context.fillRect(0, 0, 40, 30);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  const data = new DataTransfer();
  data.items.add(new File([blob], "one.png", { type: "image/png" }));
  const at = kind === "drop" ? document.querySelector(".masthead") : document.querySelector("#prompt textarea");
  const event = kind === "drop"
    ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
    : new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
  at.dispatchEvent(event);
}"""


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_picture_dropped_or_pasted_anywhere_is_the_one_asked_about(open_page: Callable[..., Page], kind: str) -> None:
    page = open_page()
    settled(page)
    page.evaluate(DROP, [kind, "teal"])
    expect(page.locator(".stale-line")).to_contain_text("picture")
    page.wait_for_function("document.querySelector('.held').naturalWidth === 40")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.wait_for_function("adafv.page.scores.size.join() === '40,30'", timeout=30_000)


def test_another_picture_takes_one_click(open_page: Callable[..., Page], tmp_path: Path) -> None:
    page = open_page()
    picture = tmp_path / "one.png"
    Image.new("RGB", (50, 40), "teal").save(picture)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Upload").click()
    chooser.value.set_files(picture)
    page.wait_for_function("document.querySelector('.held').naturalWidth === 50")


def test_the_camera_takes_one_click_to_open_and_one_to_shoot(open_page: Callable[..., Page]) -> None:
    page = open_page(permissions=["camera"])
    page.evaluate(
        """() => {
          const canvas = Object.assign(document.createElement("canvas"), { width: 320, height: 240 });
          canvas.getContext("2d").fillRect(0, 0, 320, 240);
          navigator.mediaDevices.getUserMedia = async () => canvas.captureStream(5);
          window.painting = setInterval(() => canvas.getContext("2d").fillRect(0, 0, 320, 240), 100);
        }"""
    )
    page.get_by_role("button", name="Camera").click()
    page.wait_for_function("document.querySelector('.camera video').videoWidth === 320")
    page.get_by_role("button", name="Take the picture").click()
    page.wait_for_function("document.querySelector('.held').naturalWidth === 320")
    expect(page.locator(".camera")).to_have_count(0)
