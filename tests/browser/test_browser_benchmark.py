"""How long a move of the keep ratio takes until it is painted: 95 % of keys under 22 ms, of a drag under 18 ms.

A move ends in the first task after the frame that shows it: script, style, layout, paint and commit are then done, the
compositor's own draw (3 to 5 ms here) is not. It begins
- with a key at the key event's `timeStamp`, which is when the browser received the key. So it holds the wait for the
  next frame, up to 16.7 ms at 60 Hz.
- with a drag at the `timeStamp` of the slider's `input` event. Chromium holds mouse moves until the next frame begins
  and hands them over inside it: up to 16.7 ms that no page can shorten, printed as `held_ms` and not counted.

The browser is one whose tasks are not put off after a key: it would hold back the task that reads the clock, for up
to a frame, and nothing that the eye can see. Other work on the machine only ever adds time: the best of a few rounds
counts, the bar stays. Each result is printed as JSON (`pytest -s`).
"""

from __future__ import annotations

import json
import random
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from helpers.app_context import many_crops_address
from helpers.browser import ARGUMENTS, chromium, settled
from helpers.sent_payload import made_scores, sent
from playwright.sync_api import Browser, BrowserContext, Page

from adafv_core.types import TokenGrid, TokenScores

pytestmark = pytest.mark.alone
P95_MS = {"keys": 22.0, "drag": 18.0}
ROUNDS = 8
MOVES = 100
PANELS = 4
THUMB_PX = 18
WATCH = """() => {
  window.moves = [];
  let key = 0, mouse = 0;
  addEventListener("keydown", (event) => { key = event.timeStamp; }, true);
  addEventListener("pointermove", (event) => { mouse = (event.getCoalescedEvents()[0] || event).timeStamp; }, true);
  addEventListener("input", (event) => {
    const move = { key: key, mouse: mouse, input: event.timeStamp };
    requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = () => { move.painted = performance.now(); window.moves.push(move); };
      channel.port2.postMessage(0);
    });
  }, true);
}"""


@pytest.fixture(scope="module")
def browser(browser: Browser) -> Iterator[Browser]:
    """One more, which runs tasks after a key at once."""
    arguments = [*ARGUMENTS, "--disable-features=DeferRendererTasksAfterInput"]
    started = browser.browser_type.launch(executable_path=chromium(), args=arguments)
    yield started
    started.close()


@pytest.fixture(scope="module")
def warm_context(browser: Browser) -> Iterator[BrowserContext]:
    """Of that browser."""
    context = browser.new_context()
    yield context
    context.close()


def largest_scores() -> TokenScores:
    """LLaVA-NeXT's largest grid, 2,880 tokens: the whole image in 24 × 24 and four tiles in 48 × 48; values made up."""
    scores = made_scores(1, ((24, 24), (48, 48)), ties=False)
    crops = tuple(replace(crop, box=(0.0, 0.0, 672.0, 672.0)) for crop in scores.visual.grid.crops)
    return replace(scores, visual=replace(scores.visual, grid=TokenGrid((672, 672), crops)))


def one_crop(open_page: Callable[..., Page]) -> Page:
    return opened(open_page())


def several_crops(open_page: Callable[..., Page]) -> Page:
    page = opened(open_page(at=many_crops_address()))
    assert page.evaluate("adafv.page.scores.crops.length") > 1
    return page


def largest_grid(open_page: Callable[..., Page]) -> Page:
    page = opened(open_page())
    text = sent(largest_scores(), "adafv", {})
    page.evaluate("(text) => { adafv.page.load(JSON.parse(text)); adafv.page.notify('scores'); }", text)
    assert page.evaluate("adafv.page.scores.n") == 2880
    return page


def opened(page: Page) -> Page:
    settled(page)
    page.uncheck("#answer-while-sliding")
    assert page.locator(".panels canvas").count() == PANELS
    page.evaluate(WATCH)
    return page


def steps_from(page: Page) -> Iterator[int]:
    """The slider's next step, again and again: up to the last, down to the first."""
    step, last = page.evaluate("[adafv.page.step, adafv.page.scores.steps.length - 1]")
    direction = 1
    while True:
        direction = -1 if step >= last else 1 if step <= 0 else direction
        step += direction
        yield step


def rest(page: Page, chance: random.Random) -> None:
    """A pause of one to two frames, so that moves come at any phase of a frame."""
    page.wait_for_timeout(chance.uniform(16.0, 33.0))


def press_keys(page: Page, chance: random.Random) -> None:
    page.focus("#keep-slider")
    step, steps = int(page.evaluate("adafv.page.step")), steps_from(page)
    for _ in range(MOVES):
        wanted = next(steps)
        page.keyboard.press("ArrowRight" if wanted > step else "ArrowLeft")
        step = wanted
        rest(page, chance)


def drag(page: Page, chance: random.Random) -> None:
    box = page.locator("#keep-slider").bounding_box()
    last, steps = int(page.evaluate("adafv.page.scores.steps.length - 1")), steps_from(page)
    assert box is not None
    left, width, middle = box["x"] + THUMB_PX / 2, box["width"] - THUMB_PX, box["y"] + box["height"] / 2
    page.mouse.move(left + page.evaluate("adafv.page.step") * width / last, middle)
    page.mouse.down()
    for _ in range(MOVES):
        page.mouse.move(left + next(steps) * width / last, middle)
        rest(page, chance)
    page.mouse.up()


def measured(page: Page, chance: random.Random) -> dict[str, list[float]]:
    """One round, in milliseconds."""
    found: dict[str, list[float]] = {}
    for name, move, begin in (("keys", press_keys, "key"), ("drag", drag, "input")):
        page.evaluate("window.moves.length = 0")
        move(page, chance)
        page.wait_for_timeout(100)
        moves = page.evaluate("window.moves")
        assert len(moves) >= 0.9 * MOVES
        found[name] = [one["painted"] - one[begin] for one in moves]
        if name == "drag":
            found["held_ms"] = [one["input"] - one["mouse"] for one in moves]
    return found


def summary(times: list[float]) -> dict[str, Any]:
    low, median, high = statistics.quantiles(times, n=4)
    return {
        "moves": len(times),
        "median": round(median, 1),
        "p95": round(p95(times), 1),
        "spread": [round(value, 1) for value in (min(times), low, high, max(times))],
    }


def p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20, method="inclusive")[-1]


@pytest.mark.parametrize("scene", [one_crop, several_crops, largest_grid], ids=lambda scene: scene.__name__)
def test_a_move_is_painted_within_a_frame(
    open_page: Callable[..., Page], scene: Callable[[Callable[..., Page]], Page]
) -> None:
    page, chance = scene(open_page), random.Random(0)
    best: dict[str, list[float]] = {}
    rounds = 0
    while rounds < ROUNDS and not (best and all(p95(best[name]) < most for name, most in P95_MS.items())):
        rounds += 1
        for name, times in measured(page, chance).items():
            best[name] = min(best.get(name, times), times, key=p95)
    said = {name: summary(times) for name, times in best.items()}
    tokens = page.evaluate("adafv.page.scores.n")
    print(json.dumps({"page": scene.__name__, "tokens": tokens, "rounds": rounds, **said}))
    for name, most in P95_MS.items():
        assert p95(best[name]) < most, said[name]
