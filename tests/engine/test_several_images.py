"""Several images under one budget, and per image: what is kept, and that the model sees exactly that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers.models_shared import QUESTIONS, engine_of, until_end
from helpers.tiny_families import NEWER
from helpers.tiny_models import FAMILIES as LLAVA
from helpers.tiny_models import picture

import adafv_core
from adafv_core.engine.batch import build_batch, row_from_ids, row_from_template
from adafv_core.engine.request import Request
from adafv_core.engine.several_images import dealt, joined
from adafv_core.errors import BudgetError, ImageError, InputError, PromptError, UnknownNameError
from adafv_core.methods import METHODS, get_method
from adafv_core.scoring import most_attended, word_attention
from adafv_core.types import Answer, Row, Selection, TokenScores

PICTURES = [picture(80, 60), picture(60, 120, 1), picture(200, 70, 2)]
SHARED = ("llava", "llava_next_vicuna", "qwen2_5_vl", "qwen3_vl", "internvl", "idefics3")
FAMILIES = (*LLAVA, *NEWER)


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
    with pytest.raises(InputError, match="other images or in another order"):
        dealt(selection, visuals[::-1])
    with pytest.raises(InputError, match="other images or in another order"):
        dealt(replace(selection, model_key="another"), visuals)
    with pytest.raises(PromptError, match="1 image placeholders for 2"):
        row_from_template(
            engine.adapter, [3, engine.adapter.image_token_id], [(visual, None) for visual in visuals[:2]]
        )
    with pytest.raises(PromptError, match="need 16"):
        row_from_ids(engine.adapter, torch.tensor([engine.adapter.image_token_id] * 3), [(visuals[0], None)])


def same(one: Answer, other: Answer) -> bool:
    return one.token_ids == other.token_ids and all(
        torch.equal(mine.kept, its.kept) for mine, its in zip(one.selections, other.selections, strict=True)
    )


def processed(engine: Any) -> Any:
    """What a user of stock transformers passes to `generate` for the first two pictures in one prompt."""
    nested = engine.adapter.TILED_ALONE or "pixel_attention_mask" in engine.adapter.PIXEL_NAMES
    images = [PICTURES[:2]] if nested else PICTURES[:2]
    text = [engine.prompter.render(QUESTIONS[0], images=2)]
    return engine.processor(images=images, text=text, return_tensors="pt", **getattr(engine.processor, "options", {}))


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_pruned_is_stock_generate(family: str) -> None:
    engine = engine_of(family)
    inputs = processed(engine)
    stock = engine.model.generate(**inputs, max_new_tokens=4, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    answer = engine.answer(PICTURES[:2], QUESTIONS[0], 1.0, "full", 4)
    assert answer.token_ids == until_end(engine, stock.tolist())
    assert answer.n_visual == answer.n_kept == sum(one.size for one in answer.selections)


@pytest.mark.parametrize("share", ["image", "all"])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_is_that_of_prune_and_of_the_whole_prompt_with_dropped_tokens_masked(family: str, share: str) -> None:
    engine, inputs = engine_of(family), processed(engine_of(family))
    answer = engine.answer(PICTURES[:2], QUESTIONS[0], 0.25, max_new_tokens=4, share=share, positions="original")
    with adafv_core.prune(engine.model, 0.25, processor=engine.processor, share=share, positions="original") as pruning:
        output = engine.model.generate(**inputs, max_new_tokens=4, do_sample=False)
    assert answer.token_ids == until_end(engine, output[0, inputs["input_ids"].shape[1] :].tolist())
    for mine, its in zip(answer.selections, pruning.selections[0], strict=True):
        assert torch.equal(mine.indices, its.indices) and torch.equal(mine.mixed, its.mixed)
    found = first_logprobs_masked(engine, answer)
    assert answer.first_logprobs is not None and torch.allclose(answer.first_logprobs, found, atol=1e-4)
    assert answer.n_kept == sum(one.size for one in answer.selections)
    sizes = [one.kept.shape[0] for one in answer.selections]
    if share == "all":
        assert answer.n_kept == Request(keep_ratio=0.25).budget_of(sum(sizes))
    else:
        assert [one.size for one in answer.selections] == [Request(keep_ratio=0.25).budget_of(one) for one in sizes]


def first_logprobs_masked(engine: Any, answer: Answer) -> torch.Tensor:
    """Of the model on the whole prompt, with what the answer dropped masked out."""
    visuals = engine.encode_many(PICTURES[:2], together=True)
    ids = engine.prompter(QUESTIONS[0], images=2).ids
    whole: Row = row_from_template(engine.adapter, ids, [(visual, None) for visual in visuals])
    full = build_batch(engine.adapter, [whole], pad_token_id=0, positions=["original"]).arguments
    for image, selection in zip(whole.images, answer.selections, strict=True):
        stays = torch.zeros(image.places.numel(), dtype=torch.bool)
        positions, _ = adafv_core.grid.stock_positions(image.visual.size, image.visual.newline_after)
        stays[positions[selection.indices]] = True
        full["attention_mask"][0, full["input_ids"].shape[1] - whole.ids.numel() + image.places[~stays]] = 0
    with torch.inference_mode():
        logits: torch.Tensor = engine.model(**full).logits[0, -1]
    return logits.log_softmax(-1)


@pytest.mark.parametrize("family", ["llava", "llava_onevision", "qwen2_5_vl"])
def test_every_way_of_asking_gives_one_answer(family: str) -> None:
    engine, images, request = engine_of(family), PICTURES[:2], Request(keep_ratio=0.25, share="all", max_new_tokens=3)
    answer = engine.answer(images, QUESTIONS[0], request)
    scores = engine.score_many(images, QUESTIONS[0])
    chosen = engine.select_many(scores, request)
    assert [one.visual.image_key for one in scores] == [one.image_key for one in chosen]
    alone = engine.answer(PICTURES[2], QUESTIONS[1], request)
    batch = engine.answer_batch([(images, QUESTIONS[0]), (PICTURES[2], QUESTIONS[1])], request)
    talk = engine.conversation(images)
    for other in (
        list(engine.stream(images, QUESTIONS[0], request))[-1],
        engine.answer(scores, request=request),
        engine.answer(images, QUESTIONS[0], replace(request, selection=chosen)),
        engine.answer(engine.encode_many(images, together=True), QUESTIONS[0], request),
        engine.answer_batch([(images, QUESTIONS[0])], request, selections=[chosen])[0],
        batch[0],
        talk.ask(QUESTIONS[0], request),
    ):
        assert same(other, answer)
    assert same(batch[1], alone) and len(alone.selections) == 1 and alone.selection is alone.selections[0]
    assert same(talk.ask(QUESTIONS[1], request), engine.answer(images, QUESTIONS[1], request, history=talk.turns[:1]))


@pytest.mark.parametrize("share", ["image", "all"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_selects_for_each_image_or_says_why_not(method: str, share: str) -> None:
    engine = engine_of("llava")
    if share == "all" and METHODS[method].inside_llm:
        with pytest.raises(InputError, match=r'inside the LLM.*share="image"'):
            engine.answer(PICTURES, QUESTIONS[0], 0.25, method, 1, share=share)
        return
    if share == "all" and method == "adav_authors":
        with pytest.raises(InputError, match=r"by encoder crop, which .* a budget shared by images"):
            engine.answer(PICTURES, QUESTIONS[0], 0.25, method, 1, share=share)
        return
    answer = engine.answer(PICTURES, QUESTIONS[0], budget=4, method=method, max_new_tokens=1, share=share)
    kept = [one.size for one in answer.selections]
    size = answer.n_visual if method == "full" else 4 if share == "all" else 12
    assert sum(kept) == answer.n_kept and (sum(kept) == size or not METHODS[method].exact)
    for one in answer.selections:
        assert one.ranking is None or one.ranking.shape == one.mixed.shape == one.kept.shape
        assert torch.equal(one.mixed >= 1, one.kept)


def test_selections_made_inside_the_llm_are_followed() -> None:
    engine = engine_of("llava")
    scores = engine.score_many(PICTURES, QUESTIONS[0])
    chosen = engine.select_many(scores, budget=3, method="fastv")
    answer = engine.answer(PICTURES, QUESTIONS[0], budget=3, method="fastv", max_new_tokens=2)
    assert same(answer, engine.answer(PICTURES, QUESTIONS[0], selection=chosen, max_new_tokens=2))


@pytest.mark.parametrize(
    ("image", "fields", "error", "says"),
    [
        ([], {}, ImageError, "at least one"),
        (PICTURES, {"force_keep": torch.zeros(16, dtype=torch.bool)}, InputError, "force_keep.*the prompt has 3"),
        (PICTURES, {"share": "both"}, UnknownNameError, "share must be one of image, all; got 'both'"),
        (PICTURES, {"budget": 17}, BudgetError, "from 1 to 16; got 17"),
        (PICTURES, {"budget": 49, "share": "all"}, BudgetError, "from 1 to 48; got 49"),
        (PICTURES, {"selection": _chosen(16, torch.tensor([1]))}, InputError, r"one selection an image \(3\), got 1"),
        ([PICTURES[0], "no such file.png"], {}, ImageError, "no such file"),
    ],
)
def test_wrong_arguments_for_several_images(image: Any, fields: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        engine_of("llava").answer(image, QUESTIONS[0], max_new_tokens=1, **fields)


def test_scores_go_with_the_prompt_and_the_model_they_were_made_for() -> None:
    engine = engine_of("llava")
    scores = engine.score_many(PICTURES[:2], QUESTIONS[0])
    with pytest.raises(InputError, match="made with 2 images in the prompt; got those of 1"):
        engine.answer(scores[:1], max_new_tokens=1)
    with pytest.raises(InputError, match="every image"):
        engine.answer([scores[0], PICTURES[1]], max_new_tokens=1)
    with pytest.raises(InputError, match="another question"):
        engine.answer([scores[0], *engine.score_many(PICTURES[1:2], QUESTIONS[1])], max_new_tokens=1)
    saved = [replace(one, text_tokens=None, visual=replace(one.visual, features=None)) for one in scores]
    with pytest.raises(InputError, match="saved run"):
        adafv_core.engine.several_images.joined_scores(saved)
    other = engine_of("llava_siglip")
    for select in (lambda: other.select(scores[0]), lambda: other.select_many(scores, share="all")):
        with pytest.raises(InputError, match="another model"):
            select()


def test_a_family_that_tiles_an_image_only_alone_does_not_mix_the_two() -> None:
    engine = engine_of("llava_onevision")
    alone, (together, _) = engine.encode(PICTURES[1]), engine.encode_many(PICTURES[1:], together=True)
    assert alone.size > together.size and alone.image_key != together.image_key
    with pytest.raises(InputError, match="together=True"):
        engine.answer([alone, alone], QUESTIONS[0], max_new_tokens=1)
    with pytest.raises(InputError, match="alone by `encode`"):
        engine.answer(together, QUESTIONS[0], max_new_tokens=1)
