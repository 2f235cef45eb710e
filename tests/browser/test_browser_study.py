"""Study in a real browser: stored figures, a study measured from the page, Stop, downloads, faults in one sentence."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.screenshots import SIZES, looked_at
from helpers.study_sample import coco, write_pictures
from playwright.sync_api import Page, expect

PLOTS = 5
BAR = "document.querySelector('#study-progress progress')"
OVERLAPS = """() => {
  const found = [];
  for (const plot of document.querySelectorAll('#study .js-plotly-plot')) {
    const texts = Array.from(plot.querySelectorAll('.xtick text, .ytick text, .xtitle, .ytitle, .gtitle, .legendtext'))
      .map((text) => [text.textContent, text.getBoundingClientRect()]).filter(([, box]) => box.width > 0);
    const edge = plot.getBoundingClientRect();
    texts.forEach(([one, a], i) => {
      if (a.left < edge.left - 1 || a.right > edge.right + 1) found.push(one + ' beyond the edge');
      for (const [other, b] of texts.slice(i + 1)) {
        const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (across > 1 && down > 2) found.push(one + ' over ' + other);
      }
    });
  }
  return found;
}"""


def open_study(page: Page) -> Page:
    page.get_by_role("tab", name="Study").click()
    expect(page.locator("#study .js-plotly-plot")).to_have_count(PLOTS, timeout=30_000)
    return page


def ask_for(page: Page, methods: tuple[str, ...], scenes: int) -> None:
    """Fill in a small study."""
    page.locator("#study-again .label-wrap").click()
    expect(page.locator("#study-run")).to_be_visible()
    page.wait_for_timeout(500)
    groups = (("#study-methods", methods), ("#study-ratios", ("10 %",)))
    for group, wanted in groups:
        for label in page.locator(f"{group} label").all():
            label.locator("input").set_checked(label.inner_text().strip() in wanted)
    page.fill("#study-scenes input", str(scenes))
    page.press("#study-scenes input", "Tab")
    for group, wanted in groups:
        ticked = page.locator(f"{group} label:has(input:checked)").all_inner_texts()
        assert {text.strip() for text in ticked} == set(wanted)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_stored_results_read_at_every_width_and_no_label_lies_on_another(
    open_page: Callable[..., Page], keep_picture: Callable[[Page, str], None], scheme: str
) -> None:
    page = open_study(open_page(scheme=scheme))
    expect(page.locator("#study-command")).to_contain_text("python -m adafv_core.study")
    looked_at(page, keep_picture, "study")
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(400)
        assert page.evaluate(OVERLAPS) == [], width
    for name in ("study-more", "study-beside", "study-again"):
        page.locator(f"#{name} .label-wrap").click()
    looked_at(page, keep_picture, "study-opened")


def test_a_small_study_is_measured_shown_and_handed_out(open_page: Callable[..., Page], tmp_path: Path) -> None:
    page = open_study(open_page())
    ask_for(page, ("AdaFV", "Blind"), 4)
    page.evaluate(
        "() => { const line = document.querySelector('#study-progress'); window.said = [];"
        " new MutationObserver(() => window.said.push([line.textContent, line.querySelector('progress').value]))"
        ".observe(line, { subtree: true, childList: true, characterData: true, attributes: true }); }"
    )
    page.get_by_role("button", name="Run study").click()
    expect(page.locator("#study-progress")).to_contain_text("answers are in", timeout=60_000)
    said = page.evaluate("window.said")
    assert any(" left · " in text and 0 < value < 1 for text, value in said), said[-5:]
    expect(page.locator("#study-command")).to_contain_text("--scenes 4", timeout=30_000)
    expect(page.locator("#study-table")).to_contain_text("Blind")
    expect(page.locator("#study .js-plotly-plot")).to_have_count(PLOTS)
    with page.expect_download() as answers:
        page.locator("#study-answers").click()
    with gzip.open(answers.value.path(), "rt", encoding="utf-8") as lines:
        assert sum('"adafv"' in line for line in lines) > 10
    with page.expect_download() as numbers:
        page.locator("#study-summary").click()
    summary = json.loads(Path(numbers.value.path()).read_text(encoding="utf-8"))
    assert {row["row"] for row in summary["rows"]} == {"full", "adafv", "blind"}
    assert summary["data"]["pictures"] == 4


def test_stop_keeps_what_is_done_and_run_goes_on(open_page: Callable[..., Page]) -> None:
    page = open_study(open_page())
    ask_for(page, ("AdaFV",), 40)
    line, reached = page.locator("#study-progress"), 0.0
    for _ in range(2):
        page.get_by_role("button", name="Run study").click()
        page.wait_for_function(f"{BAR}.value > {reached}", timeout=60_000)
        page.evaluate(
            f"() => {{ const bar = {BAR}; window.least = bar.value;"
            " new MutationObserver(() => { window.least = Math.min(window.least, bar.value); })"
            ".observe(bar, { attributes: true }); }"
        )
        page.locator("#study-stop").click()
        expect(line).to_contain_text("finished answers are kept", timeout=60_000)
        assert page.evaluate("window.least") > reached
        reached = page.evaluate(f"{BAR}.value")
        assert 0 < reached < 1
        expect(page.locator("#study-command")).to_contain_text("--scenes", timeout=30_000)


def test_a_wrong_annotation_file_gets_one_sentence_and_a_right_one_is_measured(
    open_page: Callable[..., Page], tmp_path: Path
) -> None:
    pictures = sorted(write_pictures(tmp_path / "pictures").iterdir())
    wrong, right = tmp_path / "wrong.json", tmp_path / "right.json"
    wrong.write_text('{"images": [}', encoding="utf-8")
    right.write_text(json.dumps(coco()), encoding="utf-8")
    page = open_study(open_page())
    ask_for(page, ("AdaFV",), 4)
    line = page.locator("#study-progress")
    for notes, says in ((wrong, "wrong.json, line 1: not JSON"), (right, "answers are in")):
        page.set_input_files("#study-files input[type=file]", [*pictures, notes])
        expect(page.locator("#study-files .file-preview, #study-files table").first).to_be_visible(timeout=30_000)
        page.wait_for_timeout(500)
        page.get_by_role("button", name="Run study").click()
        expect(line).to_contain_text(says, timeout=60_000)
        assert "Traceback" not in line.inner_text()
        if notes is wrong:
            page.locator("#study-files button[aria-label='Clear'], #study-files button[title='Clear']").first.click()
    expect(page.locator("#study-command")).to_contain_text("--annotations right.json", timeout=30_000)
