"""Each method against its slow, obvious version, and what is its own."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers import slow_versions as slow
from helpers.made_scores import SHIPPED, attention_row, made_scores, select

from adafv_core import METHODS, get_method
from adafv_core.errors import BudgetError, InputError, ScoreError
from adafv_core.methods.adav_authors import pick
from adafv_core.mixing import mix
from adafv_core.scoring import rescored_t2i, t2i_attention
from adafv_core.types import TokenScores, Why

CASES = [made_scores(side=4, crops=crops, seed=seed) for crops in (1, 3) for seed in range(4)]
BUDGETS = (1, 2, 3, 5, 8, 13, 16)


def slow_selection(name: str, scores: TokenScores, budget: int) -> list[int]:
    a, c = rescored_t2i(scores).tolist(), scores.saliency.tolist()
    visual = scores.visual
    if name == "full":
        return list(range(scores.size))
    if name == "random":
        draws = torch.rand(scores.size, generator=torch.Generator().manual_seed(0)).tolist()
        return sorted(slow.ranking(draws)[:budget])
    if name == "saliency":
        return sorted(slow.ranking(c)[:budget])
    if name == "t2i":
        return sorted(slow.ranking(a)[:budget])
    if name == "fixed_mix":
        return slow.fixed_mix(a, c, budget)
    if name == "adafv":
        k_text, k_visual = slow.best_pair(a, c, budget, 0.0, list(range(scores.size)))
        return sorted({*slow.ranking(a)[:k_text], *slow.ranking(c)[:k_visual]})
    if name == "adav_authors":
        every = rescored_t2i(scores, 100.0, "all").tolist()
        return sorted(set(slow.adav_authors(every, visual.cls_attention.tolist(), budget)))
    if name == "visionzip":
        return slow.visionzip(c, visual.vision_keys.tolist(), visual.features.tolist(), budget)[0]
    if name == "vispruner":
        return slow.vispruner(c, visual.vision_features.tolist(), budget)
    if name == "divprune":
        return slow.divprune(visual.features.tolist(), budget)
    words = [
        token for token, counts in zip(scores.text_tokens.tolist(), scores.counted.tolist(), strict=True) if counts
    ]
    v, u = visual.features.tolist(), visual.vision_features.tolist()
    if name == "adafv_d":
        return slow.adafv_d(a, c, v, budget)
    if name == "scope":
        return slow.scope(c, u, budget)
    if name == "mmtok":
        return slow.mmtok(words, v, u, budget)
    if name == "cdpruner":
        return slow.cdpruner(words, v, budget)
    if name == "eadp_llm":
        return slow.eadp_llm(words, v, [(crop.rows, crop.cols) for crop in visual.grid.crops], budget)
    heads = attention_row(scores).tolist()
    if name == "sparsevlm":
        return slow.sparsevlm([sum(pair) / 2 for pair in zip(*heads, strict=True)], v, budget)
    if name == "pyramiddrop":
        return slow.pyramiddrop([sum(pair) / 2 for pair in zip(*heads, strict=True)], budget)
    assert name == "fastv"
    return sorted(slow.ranking([sum(pair) / 2 for pair in zip(*heads, strict=True)])[:budget])


@pytest.mark.parametrize("name", [name for name in SHIPPED if name != "pooling"])
def test_equals_the_slow_version(name: str) -> None:
    for scores in CASES:
        for budget in BUDGETS:
            if name == "adav_authors" and budget < 2 * len(scores.visual.grid.crops):
                continue
            assert select(name, scores, budget).indices.tolist() == slow_selection(name, scores, budget)


def test_random_has_a_seed_and_only_adds_tokens() -> None:
    scores = made_scores(side=8)
    kept = [set(select("random", scores, budget).indices.tolist()) for budget in (5, 10, 20)]
    assert kept[0] < kept[1] < kept[2]
    other = select("random", scores, 10, seed=1)
    assert set(other.indices.tolist()) != kept[1]


def test_saliency_can_share_the_budget_over_crops() -> None:
    for scores in CASES:
        crops = len(scores.visual.grid.crops)
        for budget in BUDGETS:
            chosen = select("saliency", scores, budget, per_crop=True)
            assert chosen.indices.tolist() == slow.saliency_per_crop(scores.saliency.tolist(), crops, budget)
    even = select("saliency", CASES[-1], 12, per_crop=True).kept.view(3, 16).sum(dim=1)
    assert even.tolist() == [4, 4, 4]


def test_saliency_shares_over_the_crops_of_the_encoder_where_tokens_know_them() -> None:
    scores = made_scores(side=4)
    halves = replace(scores.visual, encoder_crop=torch.tensor([0, 1] * 8))
    chosen = select("saliency", replace(scores, visual=halves), 6, per_crop=True)
    assert chosen.kept.view(8, 2).sum(dim=0).tolist() == [3, 3]


def test_fixed_mix_hears_both_sides_equally() -> None:
    for scores in CASES:
        chosen = select("fixed_mix", scores, 8)
        assert chosen.k_text - chosen.k_visual in (0, 1) and chosen.k_text + chosen.k_visual >= 8
        heads = (chosen.why == Why.TEXT) | (chosen.why == Why.BOTH)
        assert int(heads.sum()) == chosen.k_text


def test_adafv_says_why_each_token_is_kept() -> None:
    for scores in CASES:
        split = mix(rescored_t2i(scores), scores.saliency, 9)
        chosen = select("adafv", scores, 9)
        assert (chosen.k_text, chosen.k_visual) == (split.k_text, split.k_visual)
        assert torch.equal(chosen.why == Why.TEXT, split.in_text & ~split.in_visual)
        assert torch.equal(chosen.why == Why.VISION, split.in_visual & ~split.in_text)
        assert torch.equal(chosen.why == Why.BOTH, split.in_visual & split.in_text)


def test_adafv_marks_what_only_the_floor_keeps() -> None:
    marked = 0
    for scores in CASES:
        free, chosen = select("adafv", scores, 12), select("adafv", scores, 12, floor=0.5)
        assert chosen.k_text >= 6 and chosen.k_visual >= 6
        assert torch.equal(chosen.why == Why.FLOOR, chosen.kept & ~free.kept)
        marked += int((chosen.why == Why.FLOOR).sum())
    assert marked > 0


def test_adafv_recomputes_t2i_only_from_what_was_scored() -> None:
    scores = made_scores(temperature=10.0, crops=2)
    for options in ({"temperature": 10.0}, {"temperature": 40.0}, {"text_tokens": "all"}):
        settings = {"temperature": 100.0, "text_tokens": "question", **options}
        counted = None if settings["text_tokens"] == "all" else scores.counted
        t2i = t2i_attention(scores.text_tokens, scores.visual.features, settings["temperature"], counted)
        assert torch.equal(select("adafv", scores, 9, **options).kept, mix(t2i, scores.saliency, 9).kept)


def test_adafv_masks_force_tokens_in_and_out() -> None:
    scores = made_scores(temperature=100.0)
    keep, drop = torch.zeros(16, dtype=torch.bool), torch.zeros(16, dtype=torch.bool)
    free = select("adafv", scores, 5)
    keep[(~free.kept).nonzero()[:2, 0]] = True
    drop[free.indices[0]] = True
    chosen = select("adafv", scores, 5, force_keep=keep, force_drop=drop)
    assert chosen.size == 5
    assert torch.equal(chosen.why == Why.FORCED, keep) and not bool(chosen.kept[drop].any())
    assert torch.equal(chosen.mixed >= 1, chosen.kept)
    with pytest.raises(BudgetError, match="2 visual tokens are forced to stay, more than the budget of 1"):
        select("adafv", scores, 1, force_keep=keep)
    with pytest.raises(InputError, match="shape \\(16,\\)"):
        select("adafv", scores, 5, force_keep=keep[:4])


@pytest.mark.parametrize("crops", [1, 2, 5])
@pytest.mark.parametrize("patches", [9, 64])
def test_pick_equals_the_authors_definition(crops: int, patches: int) -> None:
    draw = torch.Generator().manual_seed(crops * patches)
    for ties in (False, True):
        t2i = torch.rand(crops * patches, generator=draw)
        attention = torch.rand(crops, patches, generator=draw)
        if ties:
            t2i, attention = (t2i * 4).floor() / 4, (attention * 4).floor() / 4
        for budget in (1, 7, 8, crops * patches // 3, crops * patches):
            found = pick(t2i, attention, budget)
            assert found.tolist() == slow.adav_authors(t2i.tolist(), attention.tolist(), budget)
            assert len(found) == 2 * crops * ((budget // 2) // crops)
    assert METHODS["adav_authors"].pick is pick


def test_adav_authors_reports_nominal_picked_and_distinct() -> None:
    scores = made_scores(crops=3)
    chosen = select("adav_authors", scores, 20)
    picked = pick(rescored_t2i(scores, 100.0, "all"), scores.visual.cls_attention, 20)
    assert chosen.budget == 20
    assert chosen.report == {"picked": 18, "distinct": len(set(picked.tolist()))}
    assert chosen.size == chosen.report["distinct"] < 18


def test_adav_authors_refuses_what_it_cannot_use() -> None:
    with pytest.raises(BudgetError, match="ask for at least 6 tokens, not 5"):
        select("adav_authors", made_scores(crops=3), 5)
    with pytest.raises(ScoreError, match="crops, patches"):
        pick(torch.rand(9), torch.rand(9), 4)
    with pytest.raises(ScoreError, match="cannot be taken"):
        pick(torch.rand(20), torch.rand(1, 9), 20)
    with pytest.raises(BudgetError, match="from 1 to 9; got 20"):
        pick(torch.rand(9), torch.rand(1, 9), 20)


def test_visionzip_merges_as_the_slow_version() -> None:
    for scores in CASES:
        visual = scores.visual
        for budget in (8, 13):
            chosen = select("visionzip", scores, budget)
            _, merged = slow.visionzip(
                scores.saliency.tolist(), visual.vision_keys.tolist(), visual.features.tolist(), budget
            )
            torch.testing.assert_close(chosen.features, torch.tensor(merged))
            dominant = chosen.why == Why.VISION
            assert torch.equal(chosen.features[dominant[chosen.kept]], visual.features[dominant])
            assert int(dominant.sum()) == chosen.k_visual == round(budget * 54 / 64)


def test_visionzip_keeps_the_dtype_of_the_features() -> None:
    scores = made_scores()
    half = replace(scores, visual=replace(scores.visual, features=scores.visual.features.bfloat16()))
    assert select("visionzip", half, 8).features.dtype == torch.bfloat16


def test_methods_that_need_more_of_the_encoder_say_so() -> None:
    scores = made_scores()
    bare = replace(scores, visual=replace(scores.visual, vision_features=None, vision_keys=None))
    for name in ("visionzip", "vispruner"):
        with pytest.raises(InputError, match=f"{name} needs"):
            select(name, bare, 4)


def test_vispruner_drops_the_duplicates_first() -> None:
    scores = made_scores(side=4)
    alike = scores.visual.vision_features.clone()
    order = slow.ranking(scores.saliency.tolist())
    alike[order[9]] = alike[order[12]]
    chosen = select("vispruner", replace(scores, visual=replace(scores.visual, vision_features=alike)), 15)
    assert (~chosen.kept).nonzero()[:, 0].tolist() == [order[9]]


def test_divprune_leaves_equal_tokens_out() -> None:
    scores = made_scores(side=4)
    features = scores.visual.features.clone()
    features[8:] = features[:8] * 2.0
    chosen = select("divprune", replace(scores, visual=replace(scores.visual, features=features)), 8)
    assert sorted(i % 8 for i in chosen.indices.tolist()) == list(range(8))


def test_fastv_keeps_what_its_heads_attend_most_on_average() -> None:
    rows = torch.rand(3, 4, 20, generator=torch.Generator().manual_seed(0))
    for row in rows:
        chosen = get_method("fastv").select_from_attention(row, 6, layers=4)
        assert chosen.indices.tolist() == sorted(slow.ranking(row.mean(dim=0).tolist())[:6])
    with pytest.raises(ScoreError, match="heads, N"):
        get_method("fastv").select_from_attention(rows, 6, layers=4)
