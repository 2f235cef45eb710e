"""Properties that every method in METHODS has; a new method is tested here by being listed there."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from helpers.made_scores import LLM_LAYERS, SHIPPED, exact_methods, made_scores, scores_of, select

from adafv_core import METHODS, get_method
from adafv_core.errors import BudgetError, InputError, ScoreError, UnknownNameError
from adafv_core.methods.base import Method
from adafv_core.types import Why

BUDGETS = (1, 2, 3, 7, 16, 31, 32)
EVERY = tuple(METHODS)
EXACT = exact_methods()
EQUIVARIANT = ("full", "saliency", "t2i", "fixed_mix", "adafv", "vispruner", "divprune", "fastv")


def smallest_budget(name: str, crops: int) -> int:
    return 2 * crops if name == "adav_authors" else 1


def permuted(scores, order):
    visual = scores.visual
    moved = replace(
        visual,
        features=visual.features[order],
        saliency=visual.saliency[order],
        vision_features=visual.vision_features[order],
        vision_keys=visual.vision_keys[order],
    )
    return scores_of(moved, scores.text_tokens, scores.counted, scores.temperature)


def test_the_methods_of_the_plan_are_there_in_order() -> None:
    assert EVERY[: len(SHIPPED)] == SHIPPED
    assert {name for name in SHIPPED if name not in EXACT} == {"full", "adav_authors"}
    assert [name for name in SHIPPED if METHODS[name].inside_llm] == ["fastv"]


@pytest.mark.parametrize("name", EVERY)
def test_every_method_says_what_it_is(name: str) -> None:
    method = METHODS[name]
    assert method.name == name and issubclass(method, Method)
    assert method.__doc__ is not None and len(method.__doc__) > 80
    for field in fields(method):
        assert field.name in method.__doc__ or name in ("t2i", "fixed_mix")


@pytest.mark.parametrize("uniform", [False, True], ids=["drawn", "uniform"])
@pytest.mark.parametrize("name", EXACT)
def test_exactly_k_distinct_tokens(name: str, uniform: bool) -> None:
    scores = made_scores(crops=2, uniform=uniform)
    for budget in BUDGETS:
        chosen = select(name, scores, budget)
        assert chosen.size == int(chosen.kept.sum()) == budget == chosen.budget


@pytest.mark.parametrize("uniform", [False, True], ids=["drawn", "uniform"])
@pytest.mark.parametrize("name", EVERY)
def test_a_selection_is_consistent(name: str, uniform: bool) -> None:
    scores = made_scores(crops=2, uniform=uniform)
    for budget in BUDGETS:
        if budget < smallest_budget(name, 2):
            continue
        chosen = select(name, scores, budget)
        assert chosen.method == name
        assert chosen.indices.dtype == torch.int64 and chosen.kept.shape == (32,)
        assert bool((chosen.indices.diff() > 0).all()), "order is kept"
        assert torch.equal(chosen.kept.nonzero()[:, 0], chosen.indices)
        assert chosen.mixed.dtype == torch.float32 and bool(torch.isfinite(chosen.mixed).all())
        assert torch.equal(chosen.mixed >= 1, chosen.kept)
        assert chosen.why.dtype == torch.int8 and torch.equal(chosen.why != Why.DROPPED, chosen.kept)
        assert 0 <= chosen.k_text <= 32 and 0 <= chosen.k_visual <= 32
        if chosen.features is not None:
            assert chosen.features.shape == (chosen.size, scores.visual.features.shape[1])


@pytest.mark.parametrize("name", EVERY)
def test_the_same_question_gives_the_same_tokens(name: str) -> None:
    first, again = (select(name, made_scores(seed=3), 5) for _ in range(2))
    assert torch.equal(first.indices, again.indices) and torch.equal(first.mixed, again.mixed)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("uniform", [False, True], ids=["drawn", "uniform"])
def test_the_whole_budget_is_no_pruning(name: str, uniform: bool) -> None:
    scores = made_scores(uniform=uniform)
    chosen, full = select(name, scores, 16), select("full", scores, 16)
    assert torch.equal(chosen.indices, full.indices) and torch.equal(chosen.kept, full.kept)
    assert chosen.features is None


@pytest.mark.parametrize("name", EQUIVARIANT)
def test_permuting_the_tokens_permutes_the_selection(name: str) -> None:
    scores = made_scores(side=5)
    order = torch.randperm(25, generator=torch.Generator().manual_seed(1))
    for budget in (1, 4, 11, 25):
        chosen, moved = select(name, scores, budget), select(name, permuted(scores, order), budget)
        assert torch.equal(chosen.kept[order], moved.kept)


@pytest.mark.parametrize("name", EVERY)
def test_permuting_equal_tokens_changes_nothing(name: str) -> None:
    scores = made_scores(uniform=True)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    chosen, moved = select(name, scores, 6), select(name, permuted(scores, order), 6)
    assert torch.equal(chosen.kept, moved.kept) and torch.equal(chosen.why, moved.why)


@pytest.mark.parametrize("name", EVERY)
def test_one_visual_token(name: str) -> None:
    scores = made_scores(side=1)
    if name == "adav_authors":
        with pytest.raises(BudgetError, match="at least 2 tokens"):
            select(name, scores, 1)
    else:
        assert select(name, scores, 1).indices.tolist() == [0]


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("budget", [0, -1, 17, 1.5, "4", None, True])
def test_impossible_budgets_are_refused(name: str, budget: object) -> None:
    with pytest.raises(BudgetError, match="16") as refusal:
        select(name, made_scores(), budget)
    assert repr(budget) in str(refusal.value)


@pytest.mark.parametrize("name", [name for name in EVERY if not METHODS[name].inside_llm])
def test_scores_that_are_not_finite_or_do_not_fit_are_refused(name: str) -> None:
    scores = made_scores()
    holes = scores.t2i.clone()
    holes[3] = float("nan")
    for bad in (
        replace(scores, t2i=holes),
        replace(scores, saliency=holes),
        replace(scores, t2i=holes / 0),
        replace(scores, saliency=scores.saliency[:5]),
    ):
        with pytest.raises(ScoreError, match="must"):
            get_method(name).select(bad, 4)


def test_an_unknown_method_is_answered_with_the_valid_ones() -> None:
    with pytest.raises(UnknownNameError, match="no method 'adafw'") as refusal:
        get_method("adafw")
    assert all(name in str(refusal.value) for name in EVERY)
    assert isinstance(refusal.value, ValueError)


def test_an_unknown_option_is_answered_with_the_valid_ones() -> None:
    with pytest.raises(UnknownNameError, match="no option 'gamma'; its options are temperature, floor, text"):
        get_method("adafv", gamma=3)
    with pytest.raises(UnknownNameError, match="no option 'positions'; its options are temperature, floor, text"):
        get_method("adafv", positions="original")
    with pytest.raises(UnknownNameError, match="method full has no option 'floor'; it has no options"):
        get_method("full", floor=0.1)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("adafv", {"temperature": 0}),
        ("adafv", {"floor": 0.6}),
        ("adafv", {"floor": "0.2"}),
        ("adafv", {"text_tokens": "words"}),
        ("t2i", {"temperature": -1}),
        ("t2i", {"text_tokens": "words"}),
        ("fixed_mix", {"temperature": float("nan")}),
        ("fixed_mix", {"text_tokens": "words"}),
        ("visionzip", {"dominant": 0}),
        ("fastv", {"layer": 0}),
        ("fastv", {"layer": 1.5}),
    ],
)
def test_options_out_of_range_are_refused(name: str, options: dict[str, object]) -> None:
    with pytest.raises(InputError, match="got"):
        get_method(name, **options)


def test_options_travel_with_the_selection() -> None:
    chosen = select("adafv", made_scores(), 4, floor=0.25, temperature=10.0)
    assert dict(chosen.options) == {"temperature": 10.0, "floor": 0.25, "text_tokens": "question"}


def test_fastv_chooses_only_inside_the_llm() -> None:
    method = get_method("fastv", layer=3)
    scores = made_scores()
    with pytest.raises(InputError, match="inside the LLM"):
        method.select(scores, 4)
    chosen = select("fastv", scores, 4, layer=3)
    assert chosen.report["layer_averaged_budget"] == (3 * 16 + (LLM_LAYERS - 3) * 4) / LLM_LAYERS
