"""Explore in a real browser: the first screen, the live slider, the linked maps, the answers."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.app_context import MISSING, fallback_address, scene_path, shared_context
from helpers.browser import settled
from playwright.sync_api import Page, expect

FIRST_SCREEN_S = 3.0


def kept(page: Page) -> int:
    return int(page.evaluate("adafv.page.result.size"))


def pixels(page: Page, name: str) -> str:
    return str(page.evaluate(f"document.querySelector('canvas[data-panel={name}]').toDataURL()"))


@pytest.mark.alone
@pytest.mark.usefixtures("address")
def test_the_first_screen_is_answered_and_shows_four_maps(open_page: Callable[..., Page]) -> None:
    started = time.monotonic()
    page = open_page()
    page.wait_for_function("document.querySelectorAll('.panels canvas').length === 4")
    settled(page)
    assert time.monotonic() - started < FIRST_SCREEN_S + page_overhead(page)
    assert len({pixels(page, name) for name in ("t2i", "saliency", "mixed", "kept")}) == 4
    for answer in page.locator(".answer-text").all():
        assert answer.text_content()
    assert "20 of 196 visual tokens" in page.inner_text(".keep-count")
    assert page.locator(".answers .costs tbody tr").count() == 6
    same = page.get_attribute(".verdict", "data-same")
    expect(page.locator(".verdict b")).to_have_text("= Same answer" if same == "true" else "≠ Different answer")


def page_overhead(page: Page) -> float:
    """Seconds that the browser itself needed before it asked for the page (a cold start on a busy machine)."""
    timing = page.evaluate(
        "(() => { const t = performance.timing; return (t.fetchStart - t.navigationStart) / 1000 })()"
    )
    return max(0.0, float(timing)) + 0.5


def test_the_slider_redraws_without_the_network(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.uncheck("#answer-while-sliding")
    measured = page.locator(".answers .costs td.ratio", has_text="≈")
    expect(measured).to_have_count(2, timeout=20_000)  # what the page asks for by itself has come
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    before, picture = kept(page), pixels(page, "kept")
    box = page.locator("#keep-slider").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 8, box["y"] + box["height"] / 2)
    page.mouse.down()
    for step in range(80):
        page.mouse.move(box["x"] + 8 + step * (box["width"] - 16) / 80, box["y"] + box["height"] / 2)
    page.mouse.up()
    assert kept(page) > before
    assert pixels(page, "kept") != picture
    page.focus("#keep-slider")
    now = kept(page)
    for _ in range(20):
        page.keyboard.press("ArrowLeft")
    assert kept(page) < now
    page.wait_for_timeout(1_500)
    assert asked == []


def test_chips_and_screen_reader_text_follow(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.uncheck("#answer-while-sliding")
    page.get_by_role("button", name="Keep 25 %").click()
    assert kept(page) == 49
    slider = page.locator("#keep-slider")
    expect(slider).to_have_attribute("aria-valuetext", "25 % kept, 49 of 196 visual tokens")
    expect(page.locator("#live-summary")).to_contain_text("49 of 196 visual tokens")
    for canvas in page.locator(".panels canvas").all():
        assert canvas.get_attribute("role") == "img"
        assert canvas.get_attribute("aria-label")


def test_sliding_is_followed_by_an_answer(open_page: Callable[..., Page]) -> None:
    page = open_page()
    settled(page)
    page.focus("#keep-slider")
    page.keyboard.press("End")
    expect(page.locator(".answer-name").first).to_contain_text("196 tokens", timeout=30_000)
    settled(page)
    expect(page.locator(".verdict b")).to_have_text("= Same answer")
    expect(page.locator(".verdict span")).to_have_text(re.compile(r"KL (0|\d\.\d+e-\d+) nats"))


def test_asking_streams_maps_first_and_both_answers(open_page: Callable[..., Page]) -> None:
    page = open_page()
    settled(page)
    page.evaluate(
        "() => { window.seen = []; adafv.page.on((what) => { if (what === 'scores')"
        " window.seen.push(document.querySelector('.answers').hasAttribute('data-waiting')); }); }"
    )
    page.fill("#prompt textarea", "what is left of the ring?")
    page.press("#prompt textarea", "Enter")
    page.wait_for_function("window.seen.length > 0", timeout=30_000)
    assert page.evaluate("window.seen") == [True], "the maps are there before the answer begins to come"
    page.wait_for_function("document.querySelector('.answer').dataset.state === 'done'", timeout=60_000)
    settled(page)
    words = page.locator(".word").all_inner_texts()
    assert "ring" in words and "left" in words
    assert page.locator(".answer-state").all_inner_texts() == ["", ""]


def test_pointing_shows_values_in_all_four_and_words_show_their_own_map(open_page: Callable[..., Page]) -> None:
    page = open_page()
    before = {name: pixels(page, name) for name in ("t2i", "saliency", "mixed", "kept")}
    page.hover("canvas[data-panel=saliency]", position={"x": 40, "y": 60})
    expect(page.locator(".value-card dl")).to_contain_text("Mixed score")
    assert page.locator(".value-why").inner_text().strip()
    assert all(pixels(page, name) != image for name, image in before.items())
    page.mouse.move(5, 5)
    page.locator(".word", has_text="shape").or_(page.locator(".word").nth(2)).first.click()
    expect(page.locator(".panel-t2i .panel-note")).to_contain_text("alone")
    assert pixels(page, "t2i") != before["t2i"]
    assert page.locator(".word.uncounted").count() >= 1


def test_the_maps_work_with_the_keyboard_and_the_brush_forces_patches(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.uncheck("#answer-while-sliding")
    page.locator(".panels").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#live-summary")).to_contain_text("row")
    page.get_by_role("button", name="Force keep").click()
    page.locator(".panels").focus()
    page.keyboard.press(" ")
    token = int(page.evaluate("adafv.page.pointed[0]"))
    assert page.evaluate(f"adafv.core.WHY[adafv.page.result.why[{token}]]") == "forced"
    assert kept(page) == 20
    page.get_by_role("button", name="Force drop").click()
    page.locator(".panels").focus()
    page.keyboard.press(" ")
    assert page.evaluate(f"adafv.page.result.kept[{token}]") == 0
    page.get_by_role("button", name="Clear marks").click()
    assert page.evaluate("adafv.page.forced") is None


def test_forced_patches_reach_the_answer(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.get_by_role("button", name="Force keep").click()
    page.locator("canvas[data-panel=kept]").click(position={"x": 12, "y": 12})
    page.get_by_role("button", name="Ask", exact=True).click()
    page.wait_for_timeout(300)
    settled(page)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save run").click()
    record = json.loads(Path(saved.value.path()).read_text(encoding="utf-8"))
    assert record["force_keep"] == [0]
    assert 0 in record["selection"]["kept"]


def test_example_and_new_scene_bring_their_questions(open_page: Callable[..., Page]) -> None:
    page = open_page()
    first = page.input_value("#prompt textarea")
    page.locator(".example").nth(2).click()
    page.wait_for_function(f"document.querySelector('#prompt textarea').value !== {json.dumps(first)}")
    settled(page)
    key = page.evaluate("adafv.page.scores.key")
    page.get_by_role("button", name="New scene").click()
    page.wait_for_function(f"adafv.page.scores.key !== {json.dumps(key)}", timeout=30_000)
    settled(page)
    assert page.locator("#scene-questions label").count() >= 4
    assert page.locator(".notice").is_hidden()
    key = page.evaluate("adafv.page.scores.key")
    page.locator("#scene-questions label").nth(3).click()
    page.wait_for_function(f"adafv.page.scores.key !== {json.dumps(key)}", timeout=30_000)
    settled(page)


def test_a_picture_from_elsewhere_is_answered_with_a_notice(open_page: Callable[..., Page], tmp_path: Path) -> None:
    from PIL import Image

    photo = tmp_path / "photo.png"
    Image.linear_gradient("L").convert("RGB").save(photo)
    page = open_page()
    page.set_input_files("#question-image input[type=file]", photo)
    page.wait_for_timeout(800)
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator(".notice")).to_contain_text("drawn scenes only", timeout=30_000)
    settled(page)
    assert page.evaluate("adafv.page.scores.size") == [256, 256]
    verdict = page.locator(".verdict")
    expect(verdict).to_contain_text("withheld")
    assert page.locator(".verdict b").count() == 0 and page.locator(".answers .costs tr").count() == 0
    expect(page.locator(".convention")).to_have_text("")
    expect(page.locator(".answer-text").first).not_to_be_empty()
    page.locator(".example").first.click()
    expect(page.locator(".verdict b")).to_be_visible(timeout=30_000)
    assert page.locator(".answers .costs tbody tr").count() == 6


def test_saved_files_open_again(open_page: Callable[..., Page], tmp_path: Path) -> None:
    from PIL import Image

    page = open_page()
    page.uncheck("#answer-while-sliding")
    page.get_by_role("button", name="Keep 5 %").click()
    with page.expect_download() as picture:
        page.get_by_role("button", name="Save PNG").click()
    assert Image.open(picture.value.path()).width == 2 * 672 + 12
    with page.expect_download() as run:
        page.get_by_role("button", name="Save run").click()
    saved = tmp_path / "run.json"
    run.value.save_as(saved)
    page.get_by_role("button", name="Keep 25 %").click()
    assert kept(page) == 49
    page.set_input_files("#save-row input[type=file]", saved)
    expect(page.locator(".notice")).to_contain_text("Opened a saved run", timeout=30_000)
    assert kept(page) == 10
    page.get_by_role("button", name="Keep 25 %").click()
    assert kept(page) == 49
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Open run").last.click()
    assert page.input_value("#save-row input[type=file]") == ""
    chooser.value.set_files(saved)
    page.wait_for_function("adafv.page.result.size === 10", timeout=30_000)
    other = tmp_path / "other.json"
    other.write_text("{}", encoding="utf-8")
    page.set_input_files("#save-row input[type=file]", other)
    expect(page.locator(".notice")).to_contain_text("not a saved run", timeout=30_000)


def test_a_run_the_server_has_forgotten_is_not_saved_as_another(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.locator(".example").nth(3).click()
    page.wait_for_function("adafv.page.number === 1")
    settled(page)
    sessions = shared_context().service.sessions
    for session_id in list(sessions._by_id):
        sessions.leave(session_id)
    page.get_by_role("button", name="Save run").click()
    expect(page.locator("#view-notice .notice")).to_contain_text("no longer held by the server", timeout=10_000)
    page.get_by_role("button", name="Ask", exact=True).click()
    settled(page)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save run").click()
    record = json.loads(Path(saved.value.path()).read_text(encoding="utf-8"))
    assert record["prompt"] == page.input_value("#prompt textarea")


def test_a_new_picture_and_a_typed_question_say_what_is_to_be_done(
    open_page: Callable[..., Page], tmp_path: Path
) -> None:
    page = open_page()
    settled(page)
    chosen = page.locator("#scene-questions input:checked")
    expect(chosen).to_have_count(1)
    page.locator("#prompt textarea").press_sequentially("x")
    expect(chosen).to_have_count(0)
    page.set_input_files("#question-image input[type=file]", scene_path(11))
    expect(page.locator("#view-notice .notice")).to_contain_text("A new picture: ask", timeout=10_000)
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator("#view-notice .notice")).to_be_hidden(timeout=30_000)


def test_a_model_that_cannot_be_loaded_leaves_the_old_one(open_page: Callable[..., Page]) -> None:
    page = open_page()
    page.locator("#more .label-wrap").click()
    page.fill("#model input", "nobody/no-such-model")
    page.press("#model input", "Enter")
    page.get_by_role("button", name="Load model").click()
    expect(page.locator(".notice")).to_contain_text("The page stays on pocket", timeout=60_000)
    page.wait_for_timeout(500)
    settled(page, 5_000)
    page.get_by_role("button", name="Ask", exact=True).click()
    page.wait_for_timeout(300)
    settled(page)
    assert page.locator(".answer").first.get_attribute("data-state") == "done"


def test_a_fallback_is_told_until_another_model_answers(open_page: Callable[..., Page]) -> None:
    page = open_page(at=fallback_address())
    told = page.locator("#view-masthead .notice")
    expect(told).to_contain_text(f"{MISSING} could not be loaded, so the bundled pocket model answers")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.wait_for_timeout(300)
    settled(page)
    page.get_by_role("tab", name="Sweep").click()
    expect(told).to_be_visible()
    page.get_by_role("tab", name="Explore").click()
    page.locator("#more .label-wrap").click()
    page.get_by_role("button", name="Load model").click()
    expect(page.locator("#view-notice .notice")).to_contain_text("answers from now on", timeout=60_000)
    expect(told).to_have_count(0)


def test_what_was_opened_is_saved_not_what_was_asked_before(open_page: Callable[..., Page], tmp_path: Path) -> None:
    page = open_page()
    page.uncheck("#answer-while-sliding")
    with page.expect_download() as run:
        page.get_by_role("button", name="Save run").click()
    saved = tmp_path / "run.json"
    run.value.save_as(saved)
    page.locator(".example").nth(3).click()
    page.wait_for_timeout(300)
    settled(page)
    page.set_input_files("#save-row input[type=file]", saved)
    expect(page.locator(".notice")).to_contain_text("Opened a saved run", timeout=30_000)
    with page.expect_download() as again:
        page.get_by_role("button", name="Save run").click()
    assert json.loads(Path(again.value.path()).read_text(encoding="utf-8")) == json.loads(saved.read_text("utf-8"))


@pytest.mark.parametrize("bad", ["", "   "])
def test_an_empty_question_gets_a_sentence(open_page: Callable[..., Page], bad: str) -> None:
    page = open_page()
    page.fill("#prompt textarea", bad)
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator(".notice")).to_contain_text("There is no question yet", timeout=30_000)
