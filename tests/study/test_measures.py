"""Answers, AUC, tokens to hit, coverage and statistics on cases small enough to check by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from adafv_core.errors import ScoreError
from adafv_core.mixing import mix
from adafv_core.study.measure.accuracy import normalize, score_answer
from adafv_core.study.measure.alignment import BINS, auc, histogram, tokens_to_hit, tokens_to_hit_mixed
from adafv_core.study.measure.intervals import draw_weights, mcnemar, paired, ratio_interval
from adafv_core.study.measure.object_tokens import ObjectTokens, coverage
from adafv_core.types import Crop, TokenGrid


def mask_of(*places: int, size: int) -> torch.Tensor:
    mask = torch.zeros(size, dtype=torch.bool)
    mask[list(places)] = True
    return mask


@pytest.mark.parametrize(
    ("text", "answers", "score"),
    [
        ("Red.", ("red",), 1.0),
        ("the Red", ("red",), 1.0),
        ("dark red", ("red",), 0.0),
        ("Two", ("2",), 1.0),
        ("top-left", ("top left",), 1.0),
        ("Yes, there is a ring.", ("yes",), 1.0),
        ("No, there is not.", ("yes",), 0.0),
        ("", ("no",), 0.0),
        ("blue", ("red", "blue"), 1.0),
        ("cat", ("cat", "dog", "dog"), 2 / 9),
        ("cat", ("cat",) * 10, 1.0),
        ("cat", ("cat", "cat", "cat", *["dog"] * 7), 0.9),
    ],
)
def test_answers_are_scored_as_vqa_does(text: str, answers: tuple[str, ...], score: float) -> None:
    """ "cat" of (cat, dog, dog): leaving each out, the others hold 0, 1 and 1 matches, so (0 + 1/3 + 1/3) / 3.

    Three of ten: leaving out one of the three gives 2/3, one of the seven gives 1: (3 · 2/3 + 7) / 10 = 0.9.
    """
    assert score_answer(text, answers) == pytest.approx(score)


def test_no_accepted_answer_is_an_error() -> None:
    with pytest.raises(ValueError, match="accepted answer"):
        score_answer("red", ())
    assert normalize("A  Card!") == "card"


def test_auc_counts_pairs_and_half_of_ties() -> None:
    """On: 3, 1. Off: 2, 1. Pairs: 3>2, 3>1, 1<2, 1=1: (1 + 1 + 0 + ½) / 4."""
    scores = torch.tensor([3.0, 1.0, 2.0, 1.0, 99.0])
    on, off = mask_of(0, 1, size=5), mask_of(2, 3, size=5)
    assert auc(scores, on, off) == pytest.approx(2.5 / 4)
    assert auc(-scores, on, off) == pytest.approx(1.5 / 4)
    with pytest.raises(ScoreError, match="on and off"):
        auc(scores, torch.zeros(5, dtype=torch.bool), off)


def test_auc_equals_the_pairs_counted_one_by_one() -> None:
    generator = torch.Generator().manual_seed(3)
    scores = torch.randint(0, 6, (40,), generator=generator).float()
    on = torch.rand(40, generator=generator) < 0.3
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[on].tolist() for b in scores[~on].tolist()]
    assert auc(scores, on, ~on) == pytest.approx(sum(pairs) / len(pairs))


def test_tokens_to_hit_is_the_rank_of_the_first_token_on_the_object() -> None:
    """Descending order, ties by lower index: 1, 3, 0, 2."""
    scores = torch.tensor([0.2, 0.5, 0.2, 0.4])
    assert [tokens_to_hit(scores, mask_of(place, size=4)) for place in range(4)] == [3, 1, 4, 2]
    assert tokens_to_hit(scores, mask_of(0, 3, size=4)) == 2
    with pytest.raises(ScoreError, match="none can be hit"):
        tokens_to_hit(scores, torch.zeros(4, dtype=torch.bool))


@pytest.mark.parametrize("seed", range(6))
def test_adafv_hits_at_the_first_budget_whose_mask_has_the_object(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    t2i, saliency = torch.rand(2, 24, generator=generator)
    on = torch.rand(24, generator=generator) < 0.15
    on[5] = True
    first = next(budget for budget in range(1, 25) if bool((mix(t2i, saliency, budget).kept & on).any()))
    assert tokens_to_hit_mixed(t2i, saliency, on) == first


def test_histogram_has_every_cosine_in_one_bin() -> None:
    counts = histogram(torch.tensor([-1.0, -0.997, 0.0, 0.004, 1.0]))
    assert len(counts) == BINS and sum(counts) == 5
    assert counts[0] == 2 and counts[BINS // 2] == 2 and counts[-1] == 1


def grid_of(rows: int, cols: int, width: int, height: int) -> TokenGrid:
    return TokenGrid((width, height), (Crop("base", rows, cols, (0.0, 0.0, float(width), float(height)), 0),))


def test_coverage_is_the_covered_part_of_each_token() -> None:
    """8 × 4 pixels, two by four tokens of 2 × 2: the object covers columns 1 to 4 of the upper row of tokens."""
    mask = np.zeros((4, 8), np.float32)
    mask[:2, 1:5] = 1
    assert coverage(mask, grid_of(2, 4, 8, 4)).tolist() == [0.5, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0]


def test_a_small_object_is_on_the_token_it_covers_most() -> None:
    mask = np.zeros((4, 8), np.float32)
    mask[0, 3] = 1
    places = ObjectTokens(8, {0: coverage(mask, grid_of(2, 4, 8, 4)), 1: torch.zeros(8)})
    assert places.on(0).tolist() == mask_of(1, size=8).tolist()
    assert not places.on(1).any()
    assert places.off_all((0,)).tolist() == (~mask_of(1, size=8)).tolist()
    half = ObjectTokens(4, {0: torch.tensor([0.0, 0.2, 0.3, 1.0])})
    assert half.on(0).tolist() == [False, False, True, True]
    assert half.off_all((0,)).tolist() == [True, False, False, False]


def test_padding_counts_as_not_covered() -> None:
    grid = TokenGrid((4, 2), (Crop("base", 2, 2, (0.0, -1.0, 4.0, 3.0), 0),))
    assert coverage(np.ones((2, 4), np.float32), grid).tolist() == [0.5, 0.5, 0.5, 0.5]


def test_mcnemar_on_paper() -> None:
    """5 to 1 of 6: (C(6,0) + C(6,1)) · 2 / 64. Equal counts and no pair at all say nothing."""
    assert mcnemar(5, 1) == pytest.approx(14 / 64)
    assert mcnemar(1, 5) == mcnemar(5, 1)
    assert mcnemar(4, 4) == 1.0 and mcnemar(0, 0) == 1.0
    assert mcnemar(2000, 1500) < 1e-10


def test_bootstrap_resamples_pictures_not_questions() -> None:
    """Two pictures, one all right and one all wrong: drawn twice with replacement the accuracy is 0, ½ or 1."""
    weights = draw_weights(2)
    found = ratio_interval(np.array([10.0, 0.0]), np.array([10.0, 10.0]), weights)
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)
    shares = (weights @ np.array([1.0, 0.0])) / 2
    assert {float(one) for one in shares} == {0.0, 0.5, 1.0}
    assert float((shares == 0.5).mean()) == pytest.approx(0.5, abs=0.05)
    assert np.array_equal(weights, draw_weights(2)), "the same samples every time"


def test_interval_of_a_mean_is_near_the_normal_one() -> None:
    rng = np.random.default_rng(0)
    scores = (rng.random(400) < 0.8).astype(np.float64)
    found = ratio_interval(scores, np.ones(400), draw_weights(400))
    half = 1.96 * np.sqrt(scores.mean() * (1 - scores.mean()) / 400)
    assert found.low == pytest.approx(scores.mean() - half, abs=0.006)
    assert found.high == pytest.approx(scores.mean() + half, abs=0.006)


def test_paired_difference_and_its_counts() -> None:
    first = np.array([1.0, 1.0, 1.0, 0.0, 1.0, 1.0])
    other = np.array([1.0, 0.0, 0.0, 1.0, 1.0, 0.0])
    found = paired(first, other, np.array([0, 0, 1, 1, 2, 2]), draw_weights(3))
    assert found.difference.value == pytest.approx(2 / 6)
    assert (found.only_first, found.only_other) == (3, 1)
    means = [np.mean([(0.5, 0.0, 0.5)[one] for one in draw]) for draw in itertools.product(range(3), repeat=3)]
    assert found.difference.high == pytest.approx(max(means))
    same = paired(first, first, np.array([0, 0, 1, 1, 2, 2]), draw_weights(3))
    assert same.p_bootstrap == 1.0 and same.difference.value == 0.0
