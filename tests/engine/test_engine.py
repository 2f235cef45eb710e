"""The engine against stock `generate`, against itself in batches, and what it does with bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers.models_shared import QUESTIONS, SHAPES, engine_of, folder_of, pictures, stock_inputs, until_end
from helpers.tiny_models import FAMILIES, picture

from adafv_core.cost import LLMShape, kv_cache_bytes, prefill_flops
from adafv_core.engine import load
from adafv_core.errors import (
    BudgetError,
    ImageError,
    InputError,
    OutOfMemoryError,
    PromptError,
    ScoreError,
    UnknownNameError,
)
from adafv_core.methods import METHODS
from adafv_core.types import Why

BEFORE = [name for name, method in METHODS.items() if not method.inside_llm and name != "adav_authors"]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_pruned_equals_stock(family: str, shape: str) -> None:
    """Token for token, and first-step logits to float32 rounding."""
    engine, image = engine_of(family), picture(*SHAPES[shape])
    inputs = stock_inputs(engine, [image], [QUESTIONS[0]])
    stock = engine.model.generate(
        **inputs, max_new_tokens=10, do_sample=False, return_dict_in_generate=True, output_logits=True
    )
    answer = engine.answer(image, QUESTIONS[0], keep_ratio=1.0, max_new_tokens=10)
    assert answer.token_ids == tuple(stock.sequences[0, inputs["input_ids"].shape[1] :].tolist())
    assert torch.allclose(answer.first_logprobs, stock.logits[0][0].log_softmax(-1), atol=1e-5)
    assert answer.n_kept == answer.n_visual
    assert answer.n_kept + answer.n_newline + answer.n_text == inputs["input_ids"].shape[1]
    text = engine.processor.decode(answer.token_ids, skip_special_tokens=True).strip()
    assert answer.text == text and answer.finished


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_pruned_equals_stock_in_a_padded_batch(family: str) -> None:
    """Different pictures and questions, left padding: the same as stock's batch, row by row."""
    engine = engine_of(family)
    inputs = stock_inputs(engine, pictures(), list(QUESTIONS))
    length = inputs["input_ids"].shape[1]
    stock = engine.model.generate(
        **inputs, max_new_tokens=10, do_sample=False, return_dict_in_generate=True, output_logits=True
    )
    batch = engine.answer_batch(list(zip(pictures(), QUESTIONS, strict=True)), 1.0, max_new_tokens=10)
    for row, answer in enumerate(batch):
        assert answer.token_ids == until_end(engine, stock.sequences[row, length:].tolist())
        assert torch.allclose(answer.first_logprobs, stock.logits[0][row].log_softmax(-1), atol=1e-4)


@pytest.mark.parametrize("newline", ["drop", "rows"])
@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("family", ["llava", "llava_next_mistral", "llava_onevision"])
def test_a_batch_equals_its_questions_alone(family: str, method: str, newline: str) -> None:
    engine = engine_of(family)
    asks = list(zip(pictures(), QUESTIONS, strict=True))
    options: dict[str, Any] = {"method": method, "max_new_tokens": 6, "newline": newline}
    alone = [engine.answer(image, question, 0.25, **options) for image, question in asks]
    together = engine.answer_batch(asks, 0.25, batch_size=3, **options)
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one.selection.kept, other.selection.kept)
        assert one.token_ids == other.token_ids and one.text == other.text
        assert torch.allclose(one.first_logprobs, other.first_logprobs, atol=1e-4)
        assert (one.n_kept, one.n_newline, one.n_text) == (other.n_kept, other.n_newline, other.n_text)
        assert (one.prefill_flops, one.kv_cache_bytes) == (other.prefill_flops, other.kv_cache_bytes)


@pytest.mark.parametrize("family", FAMILIES)
def test_pruning_equals_a_prompt_written_short(family: str) -> None:
    """Against stock `generate` over input embeddings put together by hand: prompt, kept features, prompt."""
    engine, image = engine_of(family), picture(80, 60)
    answer = engine.answer(image, QUESTIONS[0], 0.25, max_new_tokens=8)
    visual, prompt = engine.encode(image), engine.prompter(QUESTIONS[0])
    ids = torch.tensor(prompt.ids)
    with torch.inference_mode():
        parts = (
            engine.adapter.embed(ids[: prompt.image_at]),
            visual.features[answer.selection.kept],
            engine.adapter.embed(ids[prompt.image_at + 1 :]),
        )
        by_hand = engine.model.generate(inputs_embeds=torch.cat(parts)[None], max_new_tokens=8, do_sample=False)
    assert answer.token_ids == tuple(by_hand[0].tolist())
    assert answer.n_kept == round(0.25 * visual.size) == answer.selection.size


def test_original_positions_leave_gaps() -> None:
    """Position ids of kept tokens are those of the whole prompt; contiguous is another run."""
    engine, image = engine_of("llava"), picture(80, 60)
    seen: list[torch.Tensor] = []
    language_model = engine.adapter.language_model
    handle = language_model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["position_ids"].clone()), with_kwargs=True
    )
    answer = engine.answer(image, QUESTIONS[0], budget=4, max_new_tokens=3, positions="original")
    option = engine.answer(image, QUESTIONS[0], budget=4, max_new_tokens=3, method="adafv")
    handle.remove()
    start = engine.prompter(QUESTIONS[0]).image_at
    places = [start + one for one in answer.selection.indices.tolist()]
    after = range(start + 16, start + 16 + len(engine.prompter(QUESTIONS[0]).text_ids))
    real = [*range(start), *places, *after]
    assert seen[0][0].tolist()[-len(real) :] == real
    assert seen[1][0].tolist() == [after[-1] + 1]
    length = len(real)
    assert seen[len(answer.token_ids)][0].tolist() == list(range(length))
    via_option = engine.answer(image, QUESTIONS[0], budget=4, max_new_tokens=3, method="adafv", positions="original")
    assert torch.allclose(via_option.first_logprobs, answer.first_logprobs)
    assert not torch.allclose(option.first_logprobs, answer.first_logprobs, atol=1e-6)


def test_newlines_of_rows_with_a_kept_token() -> None:
    engine, image = engine_of("llava_next_vicuna"), picture(80, 60)
    visual = engine.encode(image)
    tiles = visual.grid.crops[1]
    dropped = engine.answer(image, QUESTIONS[0], 0.2, max_new_tokens=2)
    rows = engine.answer(image, QUESTIONS[0], 0.2, max_new_tokens=2, newline="rows")
    kept = rows.selection.kept[tiles.offset :].reshape(tiles.rows, tiles.cols)
    assert dropped.n_newline == 0 and rows.n_newline == int(kept.any(1).sum()) > 0
    assert engine.answer(image, QUESTIONS[0], 1.0, max_new_tokens=2).n_newline == tiles.rows


@pytest.mark.parametrize("method", BEFORE)
def test_a_selection_made_before_is_followed(method: str) -> None:
    engine, image = engine_of("llava_next_vicuna"), picture(80, 60)
    visual = engine.encode(image)
    selection = engine.select(engine.score(visual, QUESTIONS[0]), budget=9, method=method)
    told = engine.answer(visual, QUESTIONS[0], selection=selection, max_new_tokens=5)
    asked = engine.answer(image, QUESTIONS[0], budget=9, method=method, max_new_tokens=5)
    assert told.selection is selection and told.token_ids == asked.token_ids


def test_forced_tokens_are_kept_and_dropped() -> None:
    engine, image = engine_of("llava"), picture(80, 60)
    keep, drop = torch.zeros(16, dtype=torch.bool), torch.zeros(16, dtype=torch.bool)
    keep[[3, 5]], drop[[0, 1, 2]] = True, True
    answer = engine.answer(image, QUESTIONS[0], budget=4, max_new_tokens=2, force_keep=keep, force_drop=drop)
    assert answer.selection.kept[keep].all() and not answer.selection.kept[drop].any()
    assert answer.n_kept == 4 and (answer.selection.why[keep] == Why.FORCED).any()
    with pytest.raises(BudgetError):
        engine.answer(image, QUESTIONS[0], budget=1, force_keep=keep)


def test_an_answer_says_what_it_cost() -> None:
    engine, image = engine_of("llava_next_vicuna"), picture(80, 60)
    engine.cache.clear()
    first = engine.answer(image, QUESTIONS[0], 0.25, max_new_tokens=4)
    again = engine.answer(image, QUESTIONS[0], 0.25, max_new_tokens=4)
    shape = LLMShape.from_config(engine.model.config)
    length = first.n_kept + first.n_newline + first.n_text
    assert first.prefill_flops == prefill_flops(shape, length)
    assert first.kv_cache_bytes == kv_cache_bytes(shape, length, 4)
    assert first.encode_s > 0 == again.encode_s
    assert first.ttft_s >= first.encode_s + first.select_s + first.prefill_s - 1e-6
    assert first.vision_flops == again.vision_flops > 0


def test_conversation_selects_anew_from_the_full_set() -> None:
    """The second question keeps what it would keep alone, whatever the first one dropped."""
    engine, image = engine_of("llava_next_vicuna"), picture(80, 60)
    talk = engine.conversation(image)
    first = talk.ask(QUESTIONS[0], 0.1, max_new_tokens=4)
    second = talk.ask(QUESTIONS[1], 0.3, max_new_tokens=4)
    assert talk.turns == [(QUESTIONS[0], first.text), (QUESTIONS[1], second.text)]
    alone = engine.select(engine.score(engine.encode(image), QUESTIONS[1]), 0.3)
    assert torch.equal(second.selection.kept, alone.kept)
    assert (second.selection.kept & ~first.selection.kept).any()
    assert second.n_text > first.n_text
    told = engine.answer(image, QUESTIONS[1], 0.3, max_new_tokens=4, history=[(QUESTIONS[0], first.text)])
    assert told.token_ids == second.token_ids


def test_scores_hold_words_and_embeddings() -> None:
    engine = engine_of("llava_onevision")
    visual = engine.encode(picture(80, 60))
    scores = engine.score(visual, "What color is the ring?")
    assert scores.words[:7] == ("↵", "What", "color", "is", "the", "ring", "?")
    assert [word for word, counted in zip(scores.words, scores.counted, strict=True) if counted] == list(
        scores.words[1:7]
    )
    assert torch.allclose(scores.word_t2i.sum(1), torch.ones(len(scores.words)))
    assert torch.equal(scores.t2i, scores.word_t2i[scores.counted].amax(0))
    assert scores.t2i.dtype == scores.saliency.dtype == torch.float32


BAD_IMAGES = [
    (None, "No image"),
    ([[picture(9, 9)] * 2], "one image, got a list of 2"),
    ([], "at least one"),
    (np.zeros((4, 4, 2), np.uint8), "shape"),
    (np.zeros((4, 4, 3), np.float32), "uint8"),
    (np.zeros((0, 4, 3), np.uint8), "empty"),
    ("picture.png", "no picture file 'picture.png'"),
    (4, "PIL image, a path.*got int"),
]


@pytest.mark.parametrize(("image", "said"), BAD_IMAGES)
def test_bad_images(image: object, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        engine_of("llava").answer(image, QUESTIONS[0])


@pytest.mark.parametrize("prompt", ["", "  \n ", None])
def test_bad_prompts(prompt: Any) -> None:
    with pytest.raises(PromptError, match="visible"):
        engine_of("llava").answer(picture(9, 9), prompt)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"budget": 0}, BudgetError),
        ({"budget": 17}, BudgetError),
        ({"budget": 2.5}, BudgetError),
        ({"keep_ratio": 0.0}, BudgetError),
        ({"keep_ratio": 1.5}, BudgetError),
        ({"keep_ratio": float("nan")}, BudgetError),
        ({"keep_ratio": 0.5, "budget": 3}, BudgetError),
        ({"method": "adafw"}, UnknownNameError),
        ({"warmth": 3}, UnknownNameError),
        ({"newline": "keep"}, UnknownNameError),
        ({"positions": "new"}, UnknownNameError),
        ({"max_new_tokens": 0}, InputError),
        ({"stop": 3}, InputError),
        ({"method": "fastv", "layer": 9}, InputError),
        ({"method": "fastv", "budget": 99}, BudgetError),
    ],
)
def test_bad_options(options: dict[str, Any], error: type[Exception]) -> None:
    engine = engine_of("llava")
    with pytest.raises(error) as caught:
        engine.answer(picture(80, 60), QUESTIONS[0], **options)
    assert isinstance(caught.value, ValueError) and len(str(caught.value)) > 20
    assert engine.answer(picture(80, 60), QUESTIONS[0], max_new_tokens=1).token_ids


def test_scores_that_are_not_numbers_or_of_another_image() -> None:
    engine = engine_of("llava")
    visual = engine.encode(picture(80, 60))
    scores = engine.score(visual, QUESTIONS[0])
    with pytest.raises(ScoreError, match="NaN"):
        engine.select(replace_scores(scores, scores.t2i * float("nan")), 0.5)
    with pytest.raises(ScoreError, match="shape"):
        engine.select(replace_scores(scores, scores.t2i[:-1]), 0.5)
    with pytest.raises(ImageError, match="VisualTokens"):
        engine.score(scores, QUESTIONS[0])
    other = engine_of("llava_next_vicuna").encode(picture(80, 60))
    selection = engine_of("llava_next_vicuna").select(engine_of("llava_next_vicuna").score(other, QUESTIONS[0]), 0.5)
    with pytest.raises(InputError, match="select anew"):
        engine.answer(visual, QUESTIONS[0], selection=selection)


def replace_scores(scores: Any, t2i: torch.Tensor) -> Any:
    from dataclasses import replace

    return replace(scores, t2i=t2i)


@pytest.mark.parametrize("where", ["encode", "generate"])
def test_out_of_memory_is_said_and_survived(where: str) -> None:
    """An allocation fails inside the stock model; the next request works."""
    engine = load(folder_of("llava"), device="cpu")
    module = engine.model.model.vision_tower if where == "encode" else engine.model.lm_head

    def fail(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB.")

    handle = module.register_forward_hook(fail)
    for call in (
        lambda: engine.answer(picture(80, 60), QUESTIONS[0]),
        lambda: engine.answer_batch([(picture(80, 60), QUESTIONS[0])]),
    ):
        with pytest.raises(OutOfMemoryError, match="smaller") as caught:
            call()
        assert caught.value.__cause__ is None
    handle.remove()
    assert engine.answer(picture(80, 60), QUESTIONS[0], max_new_tokens=3).token_ids
    assert not engine.model.lm_head._forward_hooks


def test_the_cache_is_bounded_in_bytes() -> None:
    engine = load(folder_of("llava"), device="cpu", cache_bytes=60_000)
    for seed in range(12):
        engine.encode(picture(80, 60, seed))
        assert engine.cache.bytes <= 60_000
    assert 1 <= len(engine.cache) < 12
    latest = engine.encode(picture(80, 60, 11))
    assert engine.encode(np.asarray(picture(80, 60, 11))) is latest
