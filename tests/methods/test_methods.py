"""Properties that every method in METHODS has; a new method is tested here by being listed there."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from helpers.made_scores import LLM_LAYERS, SHIPPED, exact_methods, made_scores, scores_of, select

from adafv_core import METHODS, get_method
from adafv_core.errors import BudgetError, InputError, ScoreError, UnknownNameError
from adafv_core.methods.base import Method, NestedMethod
from adafv_core.types import Why

BUDGETS = (1, 2, 3, 7, 16, 31, 32)
EVERY = tuple(METHODS)
EXACT = exact_methods()
EQUIVARIANT = (
    "full",
    "saliency",
    "t2i",
    "fixed_mix",
    "adafv",
    "adafv_d",
    "vispruner",
    "divprune",
    "scope",
    "mmtok",
    "cdpruner",
    "fastv",
)


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
    assert {name for name in SHIPPED if name not in EXACT} == {
        "full",
        "adav_authors",
        "pooling",
        "sparsevlm",
        "pyramiddrop",
    }
    assert [name for name in SHIPPED if METHODS[name].inside_llm] == ["fastv", "sparsevlm", "pyramiddrop"]


@pytest.mark.parametrize("name", EVERY)
def test_every_method_says_what_it_is(name: str) -> None:
    method = METHODS[name]
    assert method.name == name and issubclass(method, Method)
    assert method.__doc__ is not None and len(method.__doc__) > 80
    for field in fields(method):
        assert field.name in method.__doc__ or name in ("t2i", "fixed_mix")
    assert method.title and "\n" not in method.title + method.keeps + method.source


def test_every_method_that_ships_is_named_in_words() -> None:
    shipped = [METHODS[name] for name in SHIPPED]
    assert len({method.title for method in shipped}) == len({method.keeps for method in shipped}) == len(SHIPPED)
    assert all(method.title != method.name and "_" not in method.title and method.keeps for method in shipped)


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
    scores = made_scores(side=5, width=32)
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
        ("scope", {"alpha": -1}),
        ("mmtok", {"text_temperature": 0}),
        ("mmtok", {"image_temperature": "warm"}),
        ("mmtok", {"alpha": True}),
        ("cdpruner", {"space": "siglip"}),
        ("eadp_llm", {"share": 1.5}),
        ("eadp_llm", {"alpha": float("nan")}),
        ("adafv_d", {"temperature": 0}),
        ("adafv_d", {"text_tokens": "words"}),
        ("fastv", {"layer": 0}),
        ("fastv", {"layer": 1.5}),
        ("pyramiddrop", {"mean_over": "some"}),
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


NESTED = tuple(name for name in EVERY if issubclass(METHODS[name], NestedMethod))


@pytest.mark.parametrize("name", NESTED)
def test_a_nested_method_keeps_what_a_smaller_budget_kept(name: str) -> None:
    scores = made_scores(side=5, crops=2)
    order = get_method(name).order(scores, scores.size)
    assert sorted(order.tolist()) == list(range(scores.size))
    for budget in (1, 2, 7, 20, 49):
        assert sorted(order[:budget].tolist()) == select(name, scores, budget).indices.tolist()


@pytest.mark.parametrize("name", ["scope", "cdpruner"])
def test_a_budget_divided_over_the_crops(name: str) -> None:
    scores = made_scores(crops=3)
    for budget in (1, 3, 7, 47):
        kept = select(name, scores, budget, per_crop=True).kept.view(3, 16).sum(dim=1)
        assert int(kept.sum()) == budget and int(kept.max() - kept.min()) <= 1


def test_adafv_d_says_why_each_token_stays_and_how_new_it_is() -> None:
    scores = made_scores(side=5, width=32)
    text, vision = torch.zeros(25), torch.zeros(25)
    text[3], vision[8], text[12], vision[12] = 0.5, 0.5, 0.5, 0.5
    chosen = get_method("adafv_d", temperature=scores.temperature).select(replace(scores, t2i=text, saliency=vision), 3)
    assert chosen.indices.tolist() == [3, 8, 12]
    assert chosen.why[[3, 8, 12]].tolist() == [Why.TEXT, Why.VISION, Why.BOTH]
    assert (chosen.k_text, chosen.k_visual) == (1, 1)
    novelty = chosen.report["novelty"]
    assert novelty[12] == 1.0 and bool(((novelty >= 0) & (novelty <= 1)).all())


def test_adafv_d_takes_forced_tokens() -> None:
    scores = made_scores(side=5, width=32)
    keep, drop = torch.zeros(25, dtype=torch.bool), torch.zeros(25, dtype=torch.bool)
    free = select("adafv_d", scores, 6)
    keep[int((~free.kept).nonzero()[0])] = True
    drop[int(free.indices[0])] = True
    chosen = select("adafv_d", scores, 6, force_keep=keep, force_drop=drop)
    assert chosen.size == 6 and bool(chosen.kept[keep].all()) and not bool(chosen.kept[drop].any())
    assert bool((chosen.why[keep] == Why.FORCED).all())
    with pytest.raises(InputError, match="both force_keep and force_drop"):
        select("adafv_d", scores, 6, force_keep=keep, force_drop=keep)
    with pytest.raises(BudgetError, match="forced to stay"):
        select("adafv_d", scores, 1, force_keep=~drop)
    with pytest.raises(BudgetError, match="may stay"):
        select("adafv_d", scores, 6, force_drop=~keep)


def test_cdpruner_in_clips_space_says_what_it_needs() -> None:
    with pytest.raises(InputError, match="clip=load_clip_space"):
        select("cdpruner", made_scores(), 4, space="clip")


def test_centering_changes_what_cdpruner_keeps() -> None:
    scores = made_scores(side=5, width=32)
    shifted = replace(scores, visual=replace(scores.visual, features=scores.visual.features + 3.0))
    assert not torch.equal(select("cdpruner", shifted, 8).kept, select("cdpruner", shifted, 8, centered=True).kept)


@pytest.mark.parametrize("budget", [1, 2, 5, 9, 16, 24, 31, 32])
def test_pooling_keeps_a_coarser_grid_with_the_means_of_its_cells(budget: int) -> None:
    scores = made_scores(crops=2)
    chosen = select("pooling", scores, budget)
    assert 1 <= chosen.size <= budget and chosen.budget == chosen.size
    if budget == 32:
        assert chosen.features is None and bool(chosen.kept.all())
        return
    assert chosen.features is not None
    if budget in (2, 5):
        means = scores.visual.features.view(2, 16, -1).mean(dim=1)
        per_crop = chosen.kept.view(2, 16).sum(dim=1).tolist()
        if per_crop == [1, 1]:
            assert torch.allclose(chosen.features, means, atol=1e-6)
    if budget == 16:
        upper_left = scores.visual.features[[0, 4]].mean(dim=0)
        assert chosen.size == 16 and torch.allclose(chosen.features[0], upper_left, atol=1e-6)
