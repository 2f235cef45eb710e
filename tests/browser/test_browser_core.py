"""What the browser keeps equals what the library keeps, token for token."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers.app_context import shared_context
from helpers.made_scores import select
from helpers.sent_payload import made_scores, sent
from PIL import Image
from playwright.sync_api import Page

from adafv_core.checks import budget_from_keep_ratio
from adafv_core.errors import BudgetError
from adafv_core.methods import METHODS, get_method
from adafv_core.types import Selection
from app.wire.payload import INSIDE_RATIO_ONLY, payload

SELECT = """([text, forced]) => {
  const scores = adafv.core.unpack(JSON.parse(text));
  const marks = forced ? Int8Array.from(forced) : null;
  return scores.steps.map((step, i) => {
    const r = adafv.core.select(scores, i, marks);
    return { kept: Array.from(r.kept.keys()).filter((t) => r.kept[t]), why: Array.from(r.why), kText: r.kText,
             kVisual: r.kVisual, mixed: Array.from(r.mixed), problem: r.problem };
  });
}"""


@pytest.fixture(scope="module")
def page(browser: Any, address: str) -> Any:
    opened = browser.new_page()
    opened.goto(address)
    opened.wait_for_function("window.adafv && adafv.core")
    yield opened
    opened.close()


def test_adafv_at_every_stop_on_random_scores_with_ties(page: Page) -> None:
    for seed in range(24):
        crops = ((7, 9),) if seed % 3 else ((4, 6), (8, 12))
        scores = made_scores(seed, crops, ties=seed % 2 == 0)
        floor = (0.0, 0.25, 0.5)[seed % 3]
        text = sent(scores, "adafv", {"floor": floor})
        chosen = page.evaluate(SELECT, [text, None])
        for step, got in zip(json.loads(text)["steps"], chosen, strict=True):
            wanted = get_method("adafv", floor=floor).select(scores, step["budget"])
            assert got["kept"] == wanted.indices.tolist()
            assert (got["kText"], got["kVisual"]) == (wanted.k_text, wanted.k_visual)
            assert got["why"] == wanted.why.tolist()
            assert torch.equal(torch.tensor(got["mixed"]), wanted.mixed)


def test_adafv_with_forced_tokens(page: Page) -> None:
    for seed in range(6):
        scores = made_scores(seed, ((7, 9),), ties=seed % 2 == 0)
        marks = random.Random(seed).choices((0, 0, 0, 0, 0, 0, 1, -1), k=scores.size)
        keep, drop = (torch.tensor([mark == sign for mark in marks]) for sign in (1, -1))
        text = sent(scores, "adafv", {})
        for step, got in zip(json.loads(text)["steps"], page.evaluate(SELECT, [text, marks]), strict=True):
            possible = int(keep.sum()) <= step["budget"] <= int((~drop).sum())
            assert bool(got["problem"]) is not possible
            if possible:
                wanted = get_method("adafv", force_keep=keep, force_drop=drop).select(scores, step["budget"])
                assert got["kept"] == wanted.indices.tolist()
                assert got["why"] == wanted.why.tolist()
                assert torch.equal(torch.tensor(got["mixed"]), wanted.mixed)


UNRANKED = ("full", "divprune", "adav_authors", "scope", "mmtok", "cdpruner", "eadp_llm", "pooling")
UNRANKED += ("sparsevlm", "pyramiddrop")
"""Methods whose mixed score is 1 where kept and 0 elsewhere."""


@pytest.mark.parametrize("method", [name for name in METHODS if name != "adafv"])
def test_other_methods_at_every_stop(page: Page, method: str) -> None:
    for seed in range(3):
        scores = made_scores(seed, ((5, 7),), ties=seed == 1)
        text = sent(scores, method, {})
        highest = 0.0
        assert not any("mixed" in step for step in json.loads(text)["steps"]), "a step costs a number, not a map"
        own = budget_from_keep_ratio(json.loads(text)["keep_ratio"], scores.size)
        for step, got in zip(json.loads(text)["steps"], page.evaluate(SELECT, [text, None]), strict=True):
            if method in ("sparsevlm", "pyramiddrop") and step["budget"] != own:
                assert got["problem"] == INSIDE_RATIO_ONLY and not got["kept"]
                continue
            try:
                wanted = select(method, scores, step["budget"])
            except BudgetError as error:
                assert got["problem"] == str(error) and not got["kept"]
                continue
            assert got["kept"] == wanted.indices.tolist()
            assert got["why"] == wanted.why.tolist()
            mixed = torch.tensor(got["mixed"], dtype=torch.float32)
            assert torch.allclose(mixed, wanted.mixed, rtol=1e-6, atol=0.0)
            assert (mixed >= 1).tolist() == wanted.kept.tolist()
            highest = max(highest, float(mixed.max()))
        assert (highest > 1.0) is (method not in UNRANKED)


def test_a_mixed_score_of_any_make_arrives_as_it_is(page: Page) -> None:
    """Scores that no ranking over one value gives."""
    scores = made_scores(1, ((5, 7),), ties=False)

    def odd(budget: int) -> Selection:
        chosen = get_method("saliency").select(scores, budget)
        return replace(
            chosen,
            ranking=None,
            threshold=None,
            mixed=torch.where(chosen.kept, 1 + scores.t2i, scores.t2i / (2 + scores.saliency)),
        )

    picture = Image.new("RGB", (96, 64))
    text = payload(scores, picture, odd, method="saliency", options={}, keep_ratio=0.1, key="key")
    for step, got in zip(json.loads(text)["steps"], page.evaluate(SELECT, [text, None]), strict=True):
        assert torch.equal(torch.tensor(got["mixed"]), odd(step["budget"]).mixed)


def test_the_gauge_shows_the_library_s_curve(page: Page) -> None:
    from adafv_core.mixing import split_curve

    scores = made_scores(5, ((7, 9),), ties=True)
    text = sent(scores, "adafv", {})
    curve = page.evaluate(
        "(text) => { const s = adafv.core.unpack(JSON.parse(text));"
        "const found = adafv.core.splits(s, 20, s.orderText, s.orderVision);"
        "return Array.from(found.mean, (mean, kText) => [kText, found.kVisual[kText], mean]); }",
        text,
    )
    wanted = split_curve(scores.t2i, scores.saliency, 20)
    assert [pair[:2] for pair in curve] == torch.stack((wanted.k_text, wanted.k_visual), 1).tolist()
    assert [pair[2] for pair in curve] == pytest.approx(wanted.geometric_mean.tolist(), abs=1e-15)


def test_the_open_page_keeps_what_the_engine_keeps(open_page: Callable[..., Page]) -> None:
    context = shared_context()
    assert context.first.run is not None
    page = open_page()
    steps = page.evaluate("adafv.page.scores.steps.map((step) => step.ratio)")
    for index in (0, 3, 9, 30, len(steps) - 1):
        kept = page.evaluate(f"(adafv.page.moveTo({index}), Array.from(adafv.page.result.kept))")
        engine = context.service.pool.engine("pocket")
        wanted = engine.select(context.first.run.scores, keep_ratio=steps[index], method="adafv")
        assert [bool(value) for value in kept] == wanted.kept.tolist()
