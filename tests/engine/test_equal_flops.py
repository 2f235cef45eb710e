"""A budget as a share of prefill FLOPs: the largest that fits, whatever the method, the family and the prompt."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers.models_shared import QUESTIONS, engine_of, folder_of, stock_inputs
from helpers.tiny_models import picture
from transformers import AutoModelForImageTextToText

import adafv_core
from adafv_core.cost import LLMShape, prefill_flops
from adafv_core.engine import load
from adafv_core.engine.equal_flops import solved_budgets
from adafv_core.engine.request import Request
from adafv_core.errors import BudgetError, InputError
from adafv_core.grid import TokenGrid
from adafv_core.methods import METHODS, get_method
from adafv_core.types import VisualTokens

LLAVA_7B = LLMShape(layers=32, hidden=4096, intermediate=11008, heads=32, kv_heads=32, head_dim=128, vocab=32064)
POCKET_LIKE = LLMShape(layers=6, hidden=128, intermediate=352, heads=4, kv_heads=4, head_dim=32, vocab=300)
SEVERAL = ("saliency", "fastv", "sparsevlm", "pyramiddrop")


def tokens(size: int, newlines: int = 0) -> VisualTokens:
    """Visual tokens of which only the numbers count."""
    after = torch.arange(newlines) if newlines else None
    return VisualTokens(None, torch.ones(size), TokenGrid((1, 1), ()), None, None, newline_after=after)


def solved(flops_ratio: float, method: str, sizes: list[tuple[int, int]], llm: LLMShape = LLAVA_7B, **how: Any) -> Any:
    options = how.pop("options", {})
    visuals = [tokens(*size) for size in sizes]
    return solved_budgets(flops_ratio, get_method(method, **options), visuals, 40, llm, **how)


@pytest.mark.parametrize("llm", [LLAVA_7B, POCKET_LIKE], ids=["7B", "small"])
@pytest.mark.parametrize(("method", "size"), [(name, size) for name in SEVERAL for size in (196, 576)])
def test_the_budget_is_the_largest_that_fits(method: str, size: int, llm: LLMShape) -> None:
    """Against trying every budget; so FLOPs never fall as K grows."""
    chooser, full = get_method(method), prefill_flops(llm, 40 + size)
    costs = [
        prefill_flops(llm, [40 + seen for seen in chooser.layer_tokens(size, budget, llm.layers)])
        for budget in range(1, size + 1)
    ]
    for share in (0.9999, 0.75, 0.5, 0.4):
        fitting = [budget for budget, cost in enumerate(costs, 1) if cost <= share * full]
        if fitting:
            assert solved(share, method, [(size, 0)], llm) == (max(fitting),), share
        else:
            with pytest.raises(BudgetError, match="flops_ratio must be at least"):
                solved(share, method, [(size, 0)], llm)
    assert solved(1.0, method, [(size, 0)], llm) == (size,)


@pytest.mark.parametrize("family", ["llava", "llava_next_vicuna"])
@pytest.mark.parametrize("newline", ["drop", "rows"])
@pytest.mark.parametrize("method", SEVERAL)
def test_answers_cost_what_was_asked(family: str, method: str, newline: str) -> None:
    """By the FLOPs that answers report: K fits; K + 1 does not, where no newline tokens can differ."""
    engine, image = engine_of(family), picture(80, 60)
    full = engine.answer(image, QUESTIONS[0], method="full", max_new_tokens=1)
    how: dict[str, Any] = {"method": method, "newline": newline, "max_new_tokens": 1}
    for share in (0.97, 0.85):
        answer = engine.answer(image, QUESTIONS[0], flops_ratio=share, **how)
        budget = answer.selection.budget
        assert answer.prefill_flops <= share * full.prefill_flops
        again = engine.answer(image, QUESTIONS[0], budget=budget, **how)
        assert again.token_ids == answer.token_ids and torch.equal(again.selection.kept, answer.selection.kept)
        more = engine.answer(image, QUESTIONS[0], budget=budget + 1, **how)
        if more.n_newline == answer.n_newline == 0:
            assert more.prefill_flops > share * full.prefill_flops
    scores = engine.score(image, QUESTIONS[0])
    ahead = engine.select(scores, method=method, newline=newline, flops_ratio=0.85)
    assert torch.equal(ahead.kept, answer.selection.kept)


@pytest.mark.parametrize("method", SEVERAL)
def test_every_prompt_of_a_batch_has_a_budget_of_its_own(method: str) -> None:
    engine, image = engine_of("llava"), picture(80, 60)
    questions = (QUESTIONS[3], QUESTIONS[1] + " And is there one more thing to be seen?")
    how: dict[str, Any] = {"method": method, "flops_ratio": 0.92, "max_new_tokens": 1}
    batch = engine.answer_batch([(image, one) for one in questions], **how)
    alone = [engine.answer(image, one, **how) for one in questions]
    assert [one.selection.budget for one in batch] == [one.selection.budget for one in alone]
    assert all(torch.equal(a.selection.kept, b.selection.kept) for a, b in zip(batch, alone, strict=True))
    assert batch[0].selection.budget > batch[1].selection.budget  # text that stays costs its share


def test_several_images_keep_the_same_fraction_or_share_one_budget() -> None:
    engine = engine_of("llava_onevision")
    images = [picture(80, 60), picture(60, 200, 1)]
    full = engine.answer(images, QUESTIONS[0], method="full", max_new_tokens=1)
    for share in ("image", "all"):
        answer = engine.answer(images, QUESTIONS[0], method="saliency", flops_ratio=0.8, share=share, max_new_tokens=1)
        assert answer.prefill_flops <= 0.8 * full.prefill_flops
        more = engine.answer(
            images, QUESTIONS[0], method="saliency", budget=answer.n_kept + 1, share="all", max_new_tokens=1
        )
        assert share == "image" or more.prefill_flops > 0.8 * full.prefill_flops
    half = prefill_flops(LLAVA_7B, 540) / 2
    for budgets in (solved(0.5, "saliency", [(400, 0), (100, 0)], share=share) for share in ("image", "all")):
        fits, exceeds = (prefill_flops(LLAVA_7B, 40 + sum(budgets) + more) for more in (0, 2))
        assert fits <= half < exceeds and (len(budgets) == 1 or budgets[1] == round(budgets[0] / 4))


def test_prune_takes_it_too() -> None:
    engine = engine_of("llava")
    inputs = stock_inputs(engine, [picture(80, 60)], [QUESTIONS[0]])
    model = AutoModelForImageTextToText.from_pretrained(folder_of("llava")).eval()
    for method in ("saliency", "fastv"):
        with adafv_core.prune(model, method=method, processor=engine.processor, flops_ratio=0.9) as pruning:
            model.generate(**inputs, max_new_tokens=2, do_sample=False)
        wanted = engine.answer(picture(80, 60), QUESTIONS[0], method=method, flops_ratio=0.9, max_new_tokens=2)
        assert torch.equal(pruning.selections[0][0].kept, wanted.selection.kept)


def test_newline_tokens_count_where_they_may_stay() -> None:
    alone = solved(0.5, "saliency", [(576, 0)])
    assert solved(0.5, "saliency", [(576, 24)]) > alone  # they cost the whole prompt, not the pruned one
    assert solved(0.5, "saliency", [(576, 24)], newline="rows") < solved(0.5, "saliency", [(576, 24)])
    assert solved(1.0, "saliency", [(576, 24)]) == (576,)


def test_pyramiddrop_cannot_go_below_its_first_quarter() -> None:
    budget = solved(0.5, "pyramiddrop", [(576, 0)], options={"mean_over": "all"})
    assert get_method("pyramiddrop", mean_over="all").layer_tokens(576, budget[0], 32)[0] == 576
    low = solved(0.2, "pyramiddrop", [(576, 0)], options={"mean_over": "all"})
    with pytest.raises(BudgetError, match="cannot be reached"):
        get_method("pyramiddrop", mean_over="all").layer_tokens(576, low[0], 32)


@pytest.mark.parametrize("wrong", [0, -0.5, 1.01, float("nan"), "half", True])
def test_a_share_out_of_range_is_refused(wrong: Any) -> None:
    with pytest.raises(BudgetError, match="flops_ratio, the share of the full prefill's FLOPs,"):
        Request(flops_ratio=wrong)


def test_one_way_to_say_the_budget() -> None:
    with pytest.raises(BudgetError, match=r"Give one of keep_ratio, budget, flops_ratio, not several; got budget=3 "):
        Request(budget=3, flops_ratio=0.5)
    with pytest.raises(InputError, match="depends on the length of the prompt"):
        Request(flops_ratio=0.5).budget_of(576)
    engine = engine_of("llava")
    least = {"saliency": 0.01, "full": 0.5}
    for method, share in least.items():
        with pytest.raises(BudgetError, match=f"flops_ratio must be at least [01][.0-9]* for {method} here") as caught:
            engine.answer(picture(80, 60), QUESTIONS[0], method=method, flops_ratio=share)
        if method == "saliency":  # the least that the message names can be asked for
            named = float(str(caught.value).split("at least ")[1].split()[0])
            assert engine.answer(picture(80, 60), QUESTIONS[0], method=method, flops_ratio=named).n_kept == 1


def test_every_method_says_what_its_layers_see() -> None:
    for name, method in METHODS.items():
        seen = method().layer_tokens(576, 100, 32)
        assert len(seen) == 32 and all(0 < one <= 576 for one in seen), name


def test_a_question_after_earlier_turns_keeps_fewer() -> None:
    engine = load(folder_of("llava"), device="cpu")
    talk = engine.conversation(picture(80, 60))
    first = talk.ask(QUESTIONS[0], flops_ratio=0.9, max_new_tokens=2)
    second = talk.ask(QUESTIONS[0], flops_ratio=0.9, max_new_tokens=2)
    assert second.n_text > first.n_text and second.n_kept < first.n_kept
