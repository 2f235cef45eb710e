"""Bad input to the core: one clear sentence in an error of the project's own tree, which is a ValueError."""

from __future__ import annotations

import inspect

import pytest
import torch

from adafv_core import errors
from adafv_core.checks import budget_from_keep_ratio
from adafv_core.errors import AdaFVError, BudgetError, InputError, ModelError, ScoreError
from adafv_core.mixing import budget_path, mix, split_curve

GOOD = torch.tensor([0.4, 0.3, 0.2, 0.1])
NAN = torch.tensor([0.4, float("nan"), 0.2, 0.1])


def test_the_tree_is_the_one_drawn_at_the_top_of_the_file() -> None:
    drawn = errors.__doc__ or ""
    found = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    for kind in found:
        assert kind.__name__ in drawn and kind.__doc__ and issubclass(kind, AdaFVError)
        if kind not in (AdaFVError, InputError, ModelError):
            assert issubclass(kind, ValueError) != issubclass(kind, RuntimeError)
    assert issubclass(InputError, ValueError) and issubclass(ModelError, RuntimeError)
    assert len(found) == 12


@pytest.mark.parametrize("function", [mix, split_curve])
@pytest.mark.parametrize("budget", [0, -3, 5, 2.0, "2", None, True])
def test_a_budget_outside_the_tokens(function, budget: object) -> None:
    with pytest.raises(BudgetError, match="4") as refusal:
        function(GOOD, GOOD, budget)
    assert repr(budget) in str(refusal.value)


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        (NAN, "1 of 4 values are NaN or infinite"),
        (GOOD / 0, "4 of 4 values are NaN or infinite"),
        (-GOOD, "must be ≥ 0; the lowest is -0.4"),
        (GOOD[:3], r"got shapes \(3,\) and \(4,\)|got shapes \(4,\) and \(3,\)"),
        (torch.tensor([]), r"at least one token; got \(0,\)"),
        (torch.tensor(0.5), r"got \(\)"),
        (GOOD.view(1, 1, 4), r"got \(1, 1, 4\)"),
        (torch.tensor([1, 2, 3, 4]), "floating point tensor .*; got a torch.int64 tensor"),
        ([0.4, 0.3, 0.2, 0.1], "floating point tensor .*; got list"),
        (None, "got NoneType"),
    ],
)
@pytest.mark.parametrize("side", [0, 1])
def test_scores_that_cannot_be_ranked(scores: object, said: str, side: int) -> None:
    pair = (scores, GOOD) if side == 0 else (GOOD, scores)
    for function in (lambda: mix(*pair, 2), lambda: budget_path(*pair), lambda: split_curve(*pair, 2)):
        with pytest.raises(ScoreError, match=said):
            function()


@pytest.mark.parametrize("floor", [-0.1, 0.51, float("nan"), "0.25", None, True])
def test_a_floor_out_of_range(floor: object) -> None:
    for function in (lambda: mix(GOOD, GOOD, 2, floor), lambda: budget_path(GOOD, GOOD, floor)):
        with pytest.raises(InputError, match=r"from 0 to 0\.5; got"):
            function()


@pytest.mark.parametrize("mask", [torch.ones(4), torch.ones(3, dtype=torch.bool), [True] * 4])
def test_a_mask_of_another_kind_or_shape(mask: object) -> None:
    with pytest.raises(InputError, match=r"force_keep must be a bool tensor of shape \(4,\)"):
        mix(GOOD, GOOD, 2, force_keep=mask)
    with pytest.raises(InputError, match=r"force_drop must be a bool tensor of shape \(4,\)"):
        budget_path(GOOD, GOOD, force_drop=mask)


def test_a_batch_where_one_image_is_expected() -> None:
    with pytest.raises(InputError, match=r"one image, shape \(N,\); got \(2, 4\)"):
        split_curve(GOOD.expand(2, 4), GOOD.expand(2, 4), 2)


@pytest.mark.parametrize("keep_ratio", [0, -0.1, 1.01, float("nan"), float("inf"), "0.1", None, True])
def test_a_keep_ratio_outside_zero_to_one(keep_ratio: object) -> None:
    with pytest.raises(BudgetError, match="above 0 and at most 1; got") as refusal:
        budget_from_keep_ratio(keep_ratio, 576)
    assert repr(keep_ratio) in str(refusal.value)


def test_a_keep_ratio_is_rounded_and_keeps_at_least_one() -> None:
    assert budget_from_keep_ratio(0.1, 576) == 58
    assert budget_from_keep_ratio(1.0, 576) == budget_from_keep_ratio(1, 576) == 576
    assert budget_from_keep_ratio(0.0001, 576) == 1
    assert [budget_from_keep_ratio(k / 4, 10) for k in (1, 3)] == [2, 8]
