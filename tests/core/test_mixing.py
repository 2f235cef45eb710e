"""The mixture against brute force over every admissible pair, and the properties of its results."""

from __future__ import annotations

import time

import pytest
import torch
from helpers.slow_versions import admissible_pairs, best_pair, ranking, total

from adafv_core.errors import BudgetError, InputError
from adafv_core.mixing import budget_path, mix, rank, split_curve


def score_pairs(kind: str, size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed * 100 + size)
    if kind == "distinct":
        return torch.rand(size, generator=draw), torch.rand(size, generator=draw)
    if kind == "ties":
        return tuple(torch.randint(0, 4, (2, size), generator=draw).float())
    if kind == "sparse":
        return tuple(torch.randint(0, 2, (2, size), generator=draw) * torch.rand(2, size, generator=draw))
    if kind == "same order":
        scores = torch.rand(size, generator=draw)
        return scores, scores.clone()
    if kind == "opposite order":
        scores = torch.rand(size, generator=draw).sort().values
        return scores, scores.flip(0)
    if kind == "uniform":
        return torch.full((size,), 1 / size), torch.full((size,), 1 / size)
    if kind == "no text":
        return torch.zeros(size), torch.rand(size, generator=draw)
    assert kind == "no saliency"
    return torch.rand(size, generator=draw), torch.zeros(size)


KINDS = ("distinct", "ties", "sparse", "same order", "opposite order", "uniform", "no text", "no saliency")


@pytest.mark.parametrize("floor", [0.0, 0.25, 0.3, 0.5])
@pytest.mark.parametrize("kind", KINDS)
def test_equals_brute_force_for_every_budget(kind: str, floor: float) -> None:
    for size in (1, 2, 3, 5, 8):
        for seed in range(4):
            t2i, saliency = score_pairs(kind, size, seed)
            path = budget_path(t2i, saliency, floor)
            for budget in range(1, size + 1):
                found = mix(t2i, saliency, budget, floor)
                slow = best_pair(t2i.tolist(), saliency.tolist(), budget, floor, list(range(size)))
                assert (found.k_text, found.k_visual) == slow
                assert (path.k_text[budget], path.k_visual[budget]) == slow
                check_masks(found, t2i, saliency, budget)


def check_masks(found, t2i, saliency, budget) -> None:
    heads = ranking(t2i.tolist())[: found.k_text], ranking(saliency.tolist())[: found.k_visual]
    assert set(found.kept.nonzero()[:, 0].tolist()) == {*heads[0], *heads[1]}
    assert int(found.kept.sum()) == budget
    assert found.kept.dtype == torch.bool and found.mixed.dtype == torch.float32
    assert torch.equal(found.kept, found.in_text | found.in_visual)
    assert torch.equal(found.mixed >= 1, found.kept)
    assert bool(torch.isfinite(found.mixed).all())


def test_one_side_without_scores_leaves_the_budget_to_the_smaller_k_text() -> None:
    saliency = torch.tensor([0.1, 0.4, 0.2, 0.3])
    found = mix(torch.zeros(4), saliency, 2)
    assert (found.k_text, found.k_visual) == (0, 2)
    assert found.kept.tolist() == [False, True, False, True]
    assert found.mixed[1] == pytest.approx(0.4 / 0.3) and found.mixed[2] == pytest.approx(0.2 / 0.3)


def test_mixed_score_is_the_larger_ratio_to_the_last_accepted() -> None:
    t2i, saliency = score_pairs("distinct", 40, 1)
    found = mix(t2i, saliency, 12)
    last_text = t2i.sort(descending=True).values[found.k_text - 1]
    last_visual = saliency.sort(descending=True).values[found.k_visual - 1]
    assert 0 < found.k_text < 12 and found.k_visual > 0
    torch.testing.assert_close(found.mixed, torch.maximum(t2i / last_text, saliency / last_visual))


def test_ties_across_the_cut_are_settled_by_rank() -> None:
    found = mix(torch.tensor([0.5, 0.5, 0.5, 0.5]), torch.tensor([0.5, 0.5, 0.5, 0.5]), 2)
    assert found.kept.tolist() == [True, True, False, False]
    assert found.mixed[:2].tolist() == [1.0, 1.0]
    assert all(0.999 < value < 1 for value in found.mixed[2:].tolist())


def test_accepted_zeros_count_as_one_and_rejected_ones_stay_below() -> None:
    found = mix(torch.tensor([1.0, 0, 0, 0]), torch.tensor([0.0, 0, 0, 1]), 3)
    assert int(found.kept.sum()) == 3
    assert torch.equal(found.mixed >= 1, found.kept)
    assert found.mixed[2] == 0.0


def test_tiny_scores_give_finite_mixed_scores() -> None:
    t2i = torch.tensor([1.0, 1e-45, 1e-45, 0.0])
    found = mix(t2i, t2i, 3)
    assert bool(torch.isfinite(found.mixed).all())
    assert torch.equal(found.mixed >= 1, found.kept)


@pytest.mark.parametrize("floor", [0.0, 0.25])
def test_batch_equals_single(floor: float) -> None:
    pairs = [score_pairs(kind, 30, seed) for kind in KINDS for seed in range(2)]
    t2i, saliency = (torch.stack(side) for side in zip(*pairs, strict=True))
    together, path = mix(t2i, saliency, 11, floor), budget_path(t2i, saliency, floor)
    for row, (a, c) in enumerate(pairs):
        alone, alone_path = mix(a, c, 11, floor), budget_path(a, c, floor)
        assert (together.k_text[row], together.k_visual[row]) == (alone.k_text, alone.k_visual)
        for name in ("kept", "mixed", "in_text", "in_visual"):
            assert torch.equal(getattr(together, name)[row], getattr(alone, name))
        assert torch.equal(path.k_text[row], alone_path.k_text)
        assert torch.equal(path.k_visual[row], alone_path.k_visual)


def test_permuting_the_tokens_permutes_the_result() -> None:
    t2i, saliency = score_pairs("distinct", 50, 3)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    found, moved = mix(t2i, saliency, 17), mix(t2i[order], saliency[order], 17)
    assert (found.k_text, found.k_visual) == (moved.k_text, moved.k_visual)
    assert torch.equal(found.kept[order], moved.kept) and torch.equal(found.mixed[order], moved.mixed)


def test_precision_of_the_scores_is_not_reduced() -> None:
    t2i = torch.tensor([0.5, 0.5 + 1e-12], dtype=torch.float64)
    assert mix(t2i, t2i, 1).kept.tolist() == [False, True]


def test_half_precision_scores_rank_as_they_are() -> None:
    t2i, saliency = (scores.to(torch.bfloat16) for scores in score_pairs("distinct", 20, 0))
    assert torch.equal(mix(t2i, saliency, 7).kept, mix(t2i.float(), saliency.float(), 7).kept)


@pytest.mark.parametrize("floor", [0.0, 0.25])
@pytest.mark.parametrize("kind", ["distinct", "ties", "sparse"])
def test_forced_tokens_are_paid_for_first(kind: str, floor: float) -> None:
    size = 9
    for seed in range(12):
        t2i, saliency = score_pairs(kind, size, seed)
        draw = torch.Generator().manual_seed(seed)
        mark = torch.randint(0, 4, (size,), generator=draw)
        keep, drop = mark == 0, mark == 1
        free = (mark > 1).nonzero()[:, 0].tolist()
        first = int(keep.sum())
        path = budget_path(t2i, saliency, floor, keep, drop)
        assert (path.k_text[:first] == -1).all() and (path.k_text[first + len(free) + 1 :] == -1).all()
        for budget in range(max(1, first), first + len(free) + 1):
            found = mix(t2i, saliency, budget, floor, keep, drop)
            slow = best_pair(t2i.tolist(), saliency.tolist(), budget - first, floor, free)
            assert (found.k_text, found.k_visual) == slow
            assert (path.k_text[budget], path.k_visual[budget]) == slow
            assert int(found.kept.sum()) == budget
            assert bool(found.kept[keep].all()) and not bool(found.kept[drop].any())
            assert not bool((found.in_text | found.in_visual)[mark < 2].any())
            assert torch.equal(found.mixed >= 1, found.kept)


def test_forcing_more_than_the_budget_or_dropping_too_much_is_refused() -> None:
    t2i, saliency = score_pairs("distinct", 6, 0)
    five = torch.tensor([True] * 5 + [False])
    with pytest.raises(BudgetError, match="5 visual tokens are forced to stay, more than the budget of 4"):
        mix(t2i, saliency, 4, force_keep=five)
    with pytest.raises(BudgetError, match="leave 1 visual tokens, fewer than the budget of 2"):
        mix(t2i, saliency, 2, force_drop=five)
    with pytest.raises(InputError, match="both force_keep and force_drop"):
        mix(t2i, saliency, 5, force_keep=five, force_drop=five)


@pytest.mark.parametrize("floor", [0.0, 0.25])
def test_split_curve_holds_every_admissible_k_text(floor: float) -> None:
    for kind in ("distinct", "ties", "sparse"):
        t2i, saliency = score_pairs(kind, 8, 2)
        for budget in range(1, 9):
            curve = split_curve(t2i, saliency, budget, floor)
            slow: dict[int, tuple[int, float]] = {}
            for k_text, k_visual, product in admissible_pairs(
                t2i.tolist(), saliency.tolist(), budget, floor, list(range(8))
            ):
                slow[k_text] = k_visual, product**0.5
            assert curve.k_text.tolist() == list(slow)
            assert curve.k_visual.tolist() == [k_visual for k_visual, _ in slow.values()]
            assert curve.geometric_mean.tolist() == pytest.approx([mean for _, mean in slow.values()])
            found = mix(t2i, saliency, budget, floor)
            assert (curve.k_text[curve.best], curve.k_visual[curve.best]) == (found.k_text, found.k_visual)


def test_sums_are_taken_one_after_the_other_in_rank_order() -> None:
    scores = (torch.randn(3, 2880, generator=torch.Generator().manual_seed(0)) * 4).softmax(dim=1)
    sums = rank(scores).sums
    for row in range(3):
        in_order = [float(scores[row, i]) for i in ranking(scores[row].tolist())]
        assert sums[row, 1000] == total(in_order[:1000]) and sums[row, 2880] == total(in_order)
        assert sums[row, 0] == 0.0


def test_path_equals_mix_for_many_tokens() -> None:
    draw = torch.Generator().manual_seed(5)
    t2i, saliency = (torch.randn(2, 700, generator=draw) * 3).softmax(dim=1)
    for floor in (0.0, 0.25):
        path = budget_path(t2i, saliency, floor)
        for budget in (1, 2, 35, 63, 64, 65, 128, 350, 699, 700):
            found = mix(t2i, saliency, budget, floor)
            assert (path.k_text[budget], path.k_visual[budget]) == (found.k_text, found.k_visual)
    assert (path.k_text[0], path.k_visual[0]) == (0, 0)


def test_two_thousand_eight_hundred_and_eighty_tokens_take_well_under_a_second() -> None:
    t2i, saliency = (torch.randn(2, 2880, generator=torch.Generator().manual_seed(1)) * 3).softmax(dim=1)
    path_s, mix_s = [], []
    for _ in range(3):
        start = time.process_time()
        budget_path(t2i, saliency)
        middle = time.process_time()
        mix(t2i, saliency, 288)
        path_s.append(middle - start)
        mix_s.append(time.process_time() - middle)
    assert min(path_s) < 0.8
    assert min(mix_s) < 0.1
