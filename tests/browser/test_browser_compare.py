"""Compare A | B in a real browser: pinned by key, measured by itself, in the address, and each session its own."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import torch
from helpers.app_context import scene_path, shared_context
from helpers.browser import settled
from helpers.npm_packages import LINT, npm_program
from helpers.shown import still_page
from PIL import Image
from playwright.sync_api import Page, expect

from adafv_core.methods import METHODS
from app.wire.views import divergence

EXAMPLE, SCENE, DROPPED = 1, 10, 37
QUESTION = "What is the location of the square?"
CORNERS = """(tokens) => {
  const canvas = document.querySelector("canvas[data-map=compare-difference]");
  const context = canvas.getContext("2d");
  const side = canvas.width / 14;
  const at = (token, share) => Array.from(context.getImageData(
    Math.round(((token % 14) + share) * side), Math.round((Math.floor(token / 14) + share) * side), 1, 1).data)
    .slice(0, 3).map((part) => part.toString(16).padStart(2, "0")).join("");
  const style = getComputedStyle(document.querySelector(".compare-masks"));
  const is = (token, share, name) => "#" + at(token, share) === style.getPropertyValue(name).trim();
  return tokens.map((token) => [is(token, 0.24, "--why-floor"), is(token, 0.76, "--why-forced")]);
}"""
SHOWN = """() => ({ a: adafv.page.sideA.results.map((one) => Array.from(one.kept).join("")), b: adafv.page.results.map(
  (one) => Array.from(one.kept).join("")), prompt: adafv.page.sideA.prompt, url: location.hash })"""


def choose(page: Page, method: str) -> None:
    number = page.evaluate("adafv.page.number")
    page.locator("#method input").click()
    page.get_by_role("option", name=METHODS[method].title, exact=False).first.click()
    page.wait_for_function(f"adafv.page.number > {number}")
    settled(page)


def ask(page: Page, text: str) -> None:
    page.fill("#prompt textarea", text)
    page.press("#prompt textarea", "Enter")
    page.wait_for_function(f"adafv.page.scores.view.prompt === {text!r}")
    settled(page)


def test_a_and_b_side_by_side_as_the_library_has_them_and_in_the_address(open_page: Callable[..., Page]) -> None:
    engine = shared_context().service.pool.engine("pocket")
    scores = engine.score(Image.open(scene_path(SCENE)).convert("RGB"), QUESTION)
    drop = torch.zeros(196, dtype=torch.bool)
    drop[DROPPED] = True
    a, b = (engine.answer(scores, keep_ratio=0.1, **one) for one in ({"force_drop": drop}, {"method": "divprune"}))
    of_a, of_b = ({*answer.selections[0].indices.tolist()} for answer in (a, b))
    page = still_page(open_page)
    page.locator(".example").nth(EXAMPLE).click()
    settled(page)
    ask(page, QUESTION)
    section, sentence = page.locator(".compare"), page.locator(".compare .measure-sentence")
    expect(sentence).to_have_text(re.compile("^Pin what is shown as A"))
    page.evaluate("(token) => { adafv.page.brush = 'drop'; adafv.page.brushOn([token]); }", DROPPED)
    page.locator(".panels").focus()
    page.keyboard.press("a")
    expect(sentence).to_have_text("B is still what was pinned: change something.")
    choose(page, "divprune")
    verdict = "= A and B give the same answer" if a.text == b.text else "≠ A and B answer differently"
    text = f"{verdict}; next-token KL of B from A {divergence(a, b):.3f} nats."
    expect(sentence).to_have_text(text, timeout=20_000)
    both, only_a, only_b = (len(one) for one in (of_a & of_b, of_a - of_b, of_b - of_a))
    expect(section).to_contain_text(f"Kept by both: {both} · only by A: {only_a} · only by B: {only_b}")
    cells = [row.split("\t") for row in page.locator(".compare .costs tbody tr").all_inner_texts()]
    assert cells[0][:3] == ["Answer", f"“{a.text}”", f"“{b.text}”"]
    expect(page.locator(".compare td[title^='median of 5 runs in turns, ']")).to_have_count(4, timeout=20_000)
    expect(page.locator(".compare tr", has_text="Prefill").first.locator("td").last).to_have_text(re.compile("^≈ "))
    page.locator(".compare").scroll_into_view_if_needed()
    corners = page.evaluate(CORNERS, [*sorted(of_a - of_b), *sorted(of_b - of_a), *sorted(of_a & of_b)])
    assert corners == [[True, False]] * only_a + [[False, True]] * only_b + [[False, False]] * both

    before = page.evaluate(SHOWN)
    assert "a=scene" in before["url"] and f"force_drop%3D{DROPPED}" in before["url"]
    other = open_page(at=page.url)
    other.wait_for_function("adafv.page.sideA && adafv.page.scores.view.method === 'divprune'", timeout=20_000)
    settled(other)
    expect(other.locator(".compare .measure-sentence")).to_have_text(text, timeout=20_000)
    assert other.evaluate(SHOWN) == before, "a copied link opens the same two sides"
    other.get_by_role("button", name="Let A go").click()
    expect(other.locator(".compare .measure-sentence")).to_have_text(re.compile("^Pin what is shown as A"))
    other.wait_for_function("!location.hash.includes('&a=')")

    page.get_by_role("button", name="Keep 25 %").click()
    expect(section).to_have_attribute("data-outdated", "")
    page.get_by_role("button", name="Measure").first.click()
    expect(section).not_to_have_attribute("data-outdated", "", timeout=20_000)
    expect(page.locator(".compare .costs tr", has_text="Visual tokens")).to_contain_text("49 of 196")
    canvas = page.locator("canvas[data-map=compare-b]")
    canvas.hover(position={"x": 40, "y": 40})
    assert page.evaluate("adafv.page.pointed.length") == 1, "one pointer for all maps"
    ask(page, "How many hearts do you see?")
    expect(section).to_contain_text(f"A asks “{QUESTION}”, B “How many hearts do you see?”")
    page.locator(".example").nth(0).click()
    settled(page)
    expect(section).to_contain_text("Not the same picture in the same grid")
    expect(page.locator("canvas[data-map=compare-difference]")).to_be_hidden()
    assert page.evaluate("adafv.page.sideA.prompt") == QUESTION


def test_on_a_phone_it_is_stopped_withheld_and_accessible(open_page: Callable[..., Page], tmp_path: Path) -> None:
    npm_program()
    page = still_page(open_page, width=390)
    settled(page)
    expect(page.locator(".answer-strip-button")).to_be_hidden(timeout=20_000)
    page.get_by_role("button", name="Pin as A").click()
    measure = page.locator(".compare").get_by_role("button", name=re.compile("^Stop$|^Measure$"))
    with shared_context().service.background.turn():
        choose(page, "random")
        expect(measure).to_have_text("Stop", timeout=10_000)
        measure.click()
        expect(measure).to_have_text("Measure")
    sentence = page.locator(".compare .measure-sentence")
    expect(sentence).to_have_text("Not measured for these two yet.")
    measure.click()
    expect(sentence).to_have_text(re.compile("^[=≠] A and B"), timeout=20_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.add_script_tag(path=LINT / "node_modules" / "axe-core" / "axe.min.js")
    for _ in range(2):
        found = page.evaluate("async () => (await axe.run('#explore-measures')).violations.map((one) => one.id)")
        assert found == []
        page.locator(".theme-toggle").click()
    Image.effect_noise((300, 200), 90).convert("RGB").save(tmp_path / "noise.png")
    page.set_input_files("#question-image input[type=file]", tmp_path / "noise.png")
    page.wait_for_timeout(300)
    page.get_by_role("button", name="Ask", exact=True).click()
    settled(page)
    expect(sentence).to_have_text(re.compile("^No verdict on this picture"), timeout=10_000)
