"""Text from anywhere stays text: it never becomes template, script or markup."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.browser import settled
from playwright.sync_api import Page

ATTACKS = (
    "${Object.assign(window, {taken: 1})}",
    '<img src=x onerror="window.taken=1">',
    "{{#each this}}{{constructor}}{{/each}} `${window.taken = 1}`",
    "</script><script>window.taken=1</script>",
)


@pytest.mark.parametrize("text", ATTACKS)
def test_a_prompt_stays_text(open_page: Callable[..., Page], text: str) -> None:
    page = open_page()
    page.fill("#prompt textarea", f"what is this {text}")
    page.get_by_role("button", name="Ask", exact=True).click()
    page.wait_for_function("adafv.page.scores.words.length > 12 || document.querySelector('.answer[data-state=error]')")
    settled(page)
    page.locator(".word").nth(4).click()
    assert page.evaluate("window.taken") is None
    assert page.locator(".stage img, .answers img, .notice img").count() == 0


def test_a_file_name_stays_text(open_page: Callable[..., Page], tmp_path: Path) -> None:
    from PIL import Image

    named = tmp_path / "<img src=x onerror=window.taken=1> ${window.taken=1}.png"
    Image.new("RGB", (64, 64), "red").save(named)
    page = open_page()
    page.set_input_files("#question-image input[type=file]", named)
    page.wait_for_timeout(800)
    page.get_by_role("button", name="Ask", exact=True).click()
    page.wait_for_timeout(300)
    settled(page)
    assert page.evaluate("window.taken") is None


def test_a_file_that_is_no_picture_gets_a_sentence(open_page: Callable[..., Page], tmp_path: Path) -> None:
    false = tmp_path / "page.png"
    false.write_text("<html><script>window.taken=1</script></html>", encoding="utf-8")
    page = open_page()
    page.set_input_files("#question-image input[type=file]", false)
    page.wait_for_timeout(800)
    page.get_by_role("button", name="Ask", exact=True).click()
    page.wait_for_function("document.querySelector('.notice').textContent.includes('not a picture')", timeout=30_000)
    assert page.evaluate("window.taken") is None


def test_a_saved_run_with_markup_stays_text(open_page: Callable[..., Page], tmp_path: Path) -> None:
    page = open_page()
    with page.expect_download() as run:
        page.get_by_role("button", name="Save run").click()
    record = json.loads(Path(run.value.path()).read_text(encoding="utf-8"))
    record["scores"]["words"][0]["text"] = ATTACKS[1]
    record["prompt"] = record["model"] = ATTACKS[0] + ATTACKS[1]
    record["answers"]["pruned"]["text"] = ATTACKS[1]
    changed = tmp_path / "run.json"
    changed.write_text(json.dumps(record), encoding="utf-8")
    page.set_input_files("#save-row input[type=file]", changed)
    page.wait_for_function("document.querySelector('.answer-text').textContent.includes('onerror')", timeout=30_000)
    page.wait_for_timeout(300)
    assert page.evaluate("window.taken") is None
    assert page.locator(".word").nth(1).inner_text() == ATTACKS[1]


CALL = """async ([name, data]) => {
  const sent = await fetch(`/gradio_api/call/${name}`, { method: "POST", body: JSON.stringify({ data: data }),
    headers: { "Content-Type": "application/json" } });
  const { event_id } = await sent.json();
  const told = await (await fetch(`/gradio_api/call/${name}/${event_id}`)).text();
  const shown = document.createElement("div");
  shown.innerHTML = told;
  document.body.append(shown);
  return told;
}"""


@pytest.mark.parametrize("text", ATTACKS)
def test_an_api_value_comes_back_as_text_even_where_a_page_shows_it_as_html(
    open_page: Callable[..., Page], text: str
) -> None:
    page = open_page()
    for name, data in (
        ("ask", [None, text, 0.1, "adafv", 4, True]),
        ("scores", [None, "what is it?", text, text]),
        ("sweep", [None, "what is it?", [text], [text]]),
        ("study", [[text], [0.1], 1]),
        ("overlays", [None, "what is it?", 0.1, "adafv", text]),
        ("run", [None, "what is it?", 0.1, "adafv", 4, text]),
        ("read_run", [text]),
    ):
        told = page.evaluate(CALL, [name, data])
        assert "event: error" in told and "Traceback" not in told
    page.wait_for_timeout(300)
    assert page.evaluate("window.taken") is None
