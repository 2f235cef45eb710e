"""Greedy coverage and diversity: nested orders, the same picks on both ways of counting, bounded loops."""

from __future__ import annotations

import time

import pytest
import torch
from helpers import slow_versions as slow
from hypothesis import given, settings
from hypothesis import strategies as st

from adafv_core.greedy import cosine_matrix, coverage_order, dpp_order, evenly_over, min_max


def tokens(size: int, width: int, seed: int) -> torch.Tensor:
    return torch.randn(size, width, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 14), st.integers(1, 10), st.integers(0, 10_000))
def test_coverage_is_nested_and_equals_counting_everything_anew(size: int, rows: int, seed: int) -> None:
    similarity = torch.rand(rows, size, generator=torch.Generator().manual_seed(seed)).mul(8).round() / 8
    order = coverage_order(similarity, size)
    assert sorted(order.tolist()) == list(range(size))
    assert order.tolist() == slow.cover(similarity.tolist(), size)
    for count in range(1, size):
        assert torch.equal(coverage_order(similarity, count), order[:count])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(0, 10_000))
def test_dpp_is_nested_and_equals_the_largest_determinants(size: int, seed: int) -> None:
    features = tokens(size, 16, seed)
    quality = torch.rand(size, generator=torch.Generator().manual_seed(seed)) + 0.1
    order, novelty = dpp_order(cosine_matrix(features), quality, size)
    assert order.tolist() == slow.most_volume(features.tolist(), quality.tolist(), size)
    assert bool((novelty >= 0).all()) and bool((novelty <= 1).all())
    for count in range(1, size):
        assert torch.equal(dpp_order(cosine_matrix(features), quality, count)[0], order[:count])


def test_a_double_of_a_picked_token_is_not_new() -> None:
    features = tokens(6, 16, 0)
    features[4] = features[1]
    quality = torch.tensor([0.1, 1.0, 0.2, 0.3, 0.99, 0.4])
    order, novelty = dpp_order(cosine_matrix(features), quality, 5)
    assert order[0] == 1 and 4 not in order.tolist()
    assert novelty[1] == 1.0 and novelty[4] < 1e-5


def test_given_tokens_come_first_and_barred_ones_never() -> None:
    features, quality = tokens(8, 16, 1), torch.ones(8)
    barred = torch.zeros(8, dtype=torch.bool)
    barred[[2, 3]] = True
    order, _ = dpp_order(cosine_matrix(features), quality, 6, torch.tensor([7, 0]), barred)
    assert order[:2].tolist() == [7, 0]
    assert sorted(order.tolist()) == [0, 1, 4, 5, 6, 7]
    assert sorted(coverage_order(cosine_matrix(features), 6, barred=barred).tolist()) == [0, 1, 4, 5, 6, 7]


@pytest.mark.parametrize("width", [2, 4])
def test_more_picks_than_the_rank_of_the_cosines(width: int) -> None:
    order, _ = dpp_order(cosine_matrix(tokens(30, width, 2)), torch.ones(30), 30)
    assert sorted(order.tolist()) == list(range(30))
    assert order[width:].tolist() == sorted(order[width:].tolist()), "what adds nothing is taken by index"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.data())
def test_an_even_division_adds_up_and_fits(sizes: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, sum(sizes)))
    shares = evenly_over(sizes, count)
    assert sum(shares) == count
    assert all(0 <= share <= size for share, size in zip(shares, sizes, strict=True))
    full = [share == size for share, size in zip(shares, sizes, strict=True)]
    free = [share for share, is_full in zip(shares, full, strict=True) if not is_full]
    assert not free or max(free) - min(free) <= 1


def test_min_max_of_equal_values_is_zero() -> None:
    assert min_max(torch.full((4,), 0.3)).tolist() == [0.0] * 4


@pytest.mark.alone
def test_greedy_loops_are_quick_at_2880_tokens() -> None:
    """720 of 2,880 picked in under a second on one core (processor time, best of three)."""
    similarity = cosine_matrix(tokens(2880, 256, 3) + 1.0)
    quality = torch.rand(2880, generator=torch.Generator().manual_seed(3))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for run in (lambda: dpp_order(similarity, quality, 720), lambda: coverage_order(similarity, 720)):
            times_s = []
            for _ in range(3):
                start_s = time.process_time()
                run()
                times_s.append(time.process_time() - start_s)
            assert min(times_s) < 1.0, times_s
    finally:
        torch.set_num_threads(threads)
