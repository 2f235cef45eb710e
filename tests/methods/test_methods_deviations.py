"""The six deliberate deviations from the authors' code, each named, with the fault beside it."""

from __future__ import annotations

import ast
from pathlib import Path

import torch
from helpers import slow_versions as slow
from helpers.made_scores import made_scores, select
from torch.utils.flop_counter import FlopCounterMode

from adafv_core.methods.adav_authors import pick
from adafv_core.mixing import budget_path, mix
from adafv_core.scoring import cls_saliency, t2i_attention

CORE = Path(__file__).resolve().parents[2] / "adafv_core"


def test_1_the_union_has_no_doubles() -> None:
    scores = torch.linspace(1.0, 0.1, 32)
    theirs = pick(scores, scores.view(1, 32), 8)
    assert len(theirs) == 8 and len(set(theirs.tolist())) == 4
    ours = mix(scores, scores, 8)
    assert int(ours.kept.sum()) == 8 and ours.kept[:8].all()


def test_2_scores_travel_with_the_features_of_every_crop() -> None:
    t2i = torch.full((48,), 0.01)
    t2i[0] = 1.0
    attention = torch.full((3, 16), 0.01)
    attention[2, 5] = 1.0
    theirs = pick(t2i, attention, 6).tolist()
    assert 2 * 16 + 5 not in theirs and 5 + 2 in theirs
    ours = mix(t2i, attention.flatten(), 6)
    assert bool(ours.kept[2 * 16 + 5]) and ours.in_visual[2 * 16 + 5]


def test_3_the_floor_is_a_share_of_each_ranking() -> None:
    draw = torch.Generator().manual_seed(0)
    t2i = torch.zeros(64)
    t2i[:32] = torch.linspace(1.0, 0.9, 32)
    attention = torch.rand(4, 16, generator=draw) * 0.01
    attention[0] *= 0.01
    theirs = pick(t2i, attention, 32)
    base_first = sorted(attention[0].tolist(), reverse=True)[:4]
    assert {attention[0].tolist().index(value) for value in base_first} <= set(theirs.tolist())
    ours = mix(t2i, attention.flatten(), 32, floor=0.25)
    first = slow.ranking(attention.flatten().tolist())[:8]
    assert ours.k_text >= 8 and ours.k_visual >= 8 and bool(ours.kept[first].all())
    assert not bool((ours.in_visual.view(4, 16)[0]).any())


def test_4_no_prefix_length_or_patch_count_of_one_checkpoint() -> None:
    """Only SparseVLM's published lists, which are interpolated at any share, name the number that they are of."""
    for side, crops, words in ((3, 1, 3), (5, 2, 9), (7, 4, 40)):
        scores = made_scores(side=side, crops=crops, words=words)
        budget = scores.size // 3
        assert select("adafv", scores, budget).size == budget
    files = [*CORE.glob("*.py"), *(CORE / "methods").glob("*.py"), *(CORE / "models").glob("*.py")]
    assert len(files) > 20
    for file in files:
        numbers = {
            node.value
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            if isinstance(node, ast.Constant) and type(node.value) is int
        }
        published = {576} if file.name == "sparsevlm.py" else set()
        assert not (numbers - published) & {35, 336, 576, 577, 2880}, file.name


def test_5_batches_work() -> None:
    draw = torch.Generator().manual_seed(1)
    text, image = torch.randn(4, 5, 8, generator=draw), torch.randn(4, 30, 8, generator=draw)
    saliency = torch.rand(4, 30, generator=draw)
    t2i = t2i_attention(text, image)
    together, path = mix(t2i, saliency, 9), budget_path(t2i, saliency)
    assert together.kept.shape == (4, 30) and together.kept.sum(dim=1).tolist() == [9] * 4
    for row in range(4):
        assert torch.equal(together.kept[row], mix(t2i[row], saliency[row], 9).kept)
        assert torch.equal(path.k_text[row], budget_path(t2i[row], saliency[row]).k_text)


def test_6_only_the_cls_row_is_computed() -> None:
    heads, length, width = 4, 65, 8
    draw = torch.Generator().manual_seed(2)
    query = torch.randn(2, heads, length, width, generator=draw)
    key = torch.randn(2, heads, length, width, generator=draw)
    with FlopCounterMode(display=False) as counter:
        found = cls_saliency(query[:, :, 0], key)
    assert counter.get_total_flops() == 2 * 2 * heads * length * width
    whole = (query @ key.transpose(-1, -2) * width**-0.5).softmax(dim=-1)
    torch.testing.assert_close(found, whole[:, :, 0, 1:].mean(dim=1))
