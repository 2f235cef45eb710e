"""Several images under one budget, and per image: what is kept, and that the model sees exactly that."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers.models_shared import engine_of
from helpers.tiny_models import picture

import adafv_core
from adafv_core.engine.batch import build_batch, row_from_ids, row_from_template
from adafv_core.engine.several_images import dealt, joined
from adafv_core.errors import InputError, PromptError
from adafv_core.methods import get_method
from adafv_core.scoring import most_attended, word_attention
from adafv_core.types import Selection, TokenScores

PICTURES = [picture(80, 60), picture(60, 120, 1), picture(200, 70, 2)]
SHARED = ("llava", "llava_next_vicuna", "qwen2_5_vl", "qwen3_vl", "internvl", "idefics3")


def shared(family: str, method: str, budget: int) -> tuple[Any, list[Any], Selection]:
    """A selection over three images at once."""
    engine = engine_of(family)
    visuals = [engine.encode(one) for one in PICTURES]
    together = joined(visuals)
    words = engine.adapter.embed(torch.arange(20, 25))
    attention = word_attention(words, together.features)
    counted = torch.ones(5, dtype=torch.bool)
    scores = TokenScores(
        t2i=most_attended(attention, counted),
        saliency=together.saliency,
        words=("a",) * 5,
        word_t2i=attention,
        counted=counted,
        text_tokens=words,
        visual=together,
        prompt="a",
    )
    return engine, visuals, get_method(method).select(scores, budget)


@pytest.mark.parametrize("method", ["adafv", "saliency", "t2i", "visionzip", "vispruner", "divprune"])
@pytest.mark.parametrize("family", SHARED)
def test_a_shared_budget_is_spent_once_over_all_images(family: str, method: str) -> None:
    _, visuals, selection = shared(family, method, 9)
    each = dealt(selection, visuals)
    assert sum(one.size for one in each) == selection.size <= 9
    assert torch.equal(torch.cat([one.kept for one in each]), selection.kept)
    for one, visual in zip(each, visuals, strict=True):
        assert one.kept.shape[0] == visual.size and torch.equal(one.kept.nonzero()[:, 0], one.indices)
        assert one.features is None or one.features.shape[0] == one.size


def test_saliency_of_a_large_image_counts_as_much_per_token_as_that_of_a_small_one() -> None:
    engine = engine_of("qwen2_5_vl")
    visuals = [engine.encode(one) for one in PICTURES]
    assert len({visual.size for visual in visuals}) > 1
    together = joined(visuals)
    means = [part.mean() for part in torch.split(together.saliency, [visual.size for visual in visuals])]
    assert torch.allclose(torch.stack(means), means[0].expand(3))
    for part, visual in zip(torch.split(together.saliency, [one.size for one in visuals]), visuals, strict=True):
        assert torch.equal(part.argsort(stable=True), visual.saliency.argsort(stable=True))
    assert together.grid.size == together.size == sum(visual.size for visual in visuals)


@pytest.mark.parametrize("family", SHARED)
def test_the_model_sees_exactly_what_each_image_keeps(family: str) -> None:
    """Against the whole prompt with the dropped tokens masked out; one image keeps nothing."""
    engine, visuals, _ = shared(family, "adafv", 9)
    keep = [torch.tensor([0, 2]), torch.tensor([], dtype=torch.long), torch.tensor([1])]
    selections = [_chosen(visual.size, indices) for visual, indices in zip(visuals, keep, strict=True)]
    token = engine.adapter.image_token_id
    ids = [20, token, 21, token, 22, token, 23, 24]
    images = list(zip(visuals, selections, strict=True))
    row = row_from_template(engine.adapter, ids, images)
    whole = row_from_template(engine.adapter, ids, [(visual, None) for visual in visuals])
    assert torch.equal(row.ids, whole.ids)
    arguments = build_batch(engine.adapter, [row], pad_token_id=0, positions=["original"]).arguments
    full = build_batch(engine.adapter, [whole], pad_token_id=0, positions=["original"]).arguments
    for image, indices in zip(row.images, keep, strict=True):
        stays = torch.zeros(image.places.numel(), dtype=torch.bool)
        stays[adafv_core.grid.stock_positions(image.visual.size, image.visual.newline_after)[0][indices]] = True
        shift = full["input_ids"].shape[1] - whole.ids.numel()
        full["attention_mask"][0, shift + image.places[~stays]] = 0
    with torch.inference_mode():
        expected = engine.model(**full).logits[0, -1]
        found = engine.model(**arguments).logits[0, -1]
    assert torch.allclose(found, expected, atol=3e-5)


def _chosen(size: int, indices: torch.Tensor) -> Selection:
    kept = torch.zeros(size, dtype=torch.bool)
    kept[indices] = True
    return Selection(indices, kept, kept.float(), kept.to(torch.int8), 0, 0, indices.numel(), "random")


def test_what_does_not_fit_together_is_refused() -> None:
    engine, visuals, selection = shared("llava", "adafv", 9)
    with pytest.raises(InputError, match="at least one"):
        joined([])
    with pytest.raises(InputError, match="32"):
        dealt(selection, visuals[:2])
    with pytest.raises(PromptError, match="1 image placeholders for 2"):
        row_from_template(
            engine.adapter, [3, engine.adapter.image_token_id], [(visual, None) for visual in visuals[:2]]
        )
    with pytest.raises(PromptError, match="need 16"):
        row_from_ids(engine.adapter, torch.tensor([engine.adapter.image_token_id] * 3), [(visuals[0], None)])
