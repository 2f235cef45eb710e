"""A request: made and checked once, the same by keyword and as a value; and what it may be used on."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.models_shared import QUESTIONS, engine_of, folder_of
from helpers.tiny_models import picture

from adafv_core.engine import load
from adafv_core.engine.request import Request, request_of
from adafv_core.errors import BudgetError, InputError, UnknownNameError
from adafv_core.methods import METHODS
from adafv_core.scoring import unscored
from adafv_core.types import Selection

BEFORE = [name for name, method in METHODS.items() if not method.inside_llm and name != "adav_authors"]


def selection_of(name: str, **fields: Any) -> Selection:
    engine = engine_of("llava")
    scores = engine.score(picture(80, 60), QUESTIONS[0])
    return engine.select(scores, budget=5, method=name, **fields)


def test_a_request_is_what_its_fields_say_by_keyword() -> None:
    mask = torch.zeros(16, dtype=torch.bool)
    mask[3] = True
    request = Request("adafv", {"floor": 0.25, "force_keep": mask}, budget=5, max_new_tokens=3, positions="original")
    engine, image = engine_of("llava"), picture(80, 60)
    options: dict[str, Any] = {"floor": 0.25, "force_keep": mask, "positions": "original"}
    by_keyword = engine.answer(image, QUESTIONS[0], budget=5, max_new_tokens=3, **options)
    for answer in (
        engine.answer(image, QUESTIONS[0], request),
        list(engine.stream(image, QUESTIONS[0], request))[-1],
        engine.answer_batch([(image, QUESTIONS[0])], request)[0],
        engine.conversation(image).ask(QUESTIONS[0], request),
        engine.answer(image, QUESTIONS[0], pickle.loads(pickle.dumps(request))),
    ):
        assert torch.equal(answer.selection.kept, by_keyword.selection.kept) and answer.selection.kept[3]
        assert answer.token_ids == by_keyword.token_ids
    assert torch.equal(engine.select(engine.score(image, QUESTIONS[0]), request).kept, by_keyword.selection.kept)


def test_a_request_beside_its_fields_is_refused() -> None:
    with pytest.raises(InputError, match=r"not both; got method, floor beside it"):
        engine_of("llava").answer(picture(80, 60), QUESTIONS[0], Request(), "adafv", floor=0.1)


@pytest.mark.parametrize("size", [1, 7, 16, 2880])
@pytest.mark.parametrize("keep_ratio", [0.01, 0.1, 0.5, 1.0])
def test_the_budget_of_an_image(size: int, keep_ratio: float) -> None:
    assert Request(keep_ratio=keep_ratio).budget_of(size) == max(1, round(keep_ratio * size))
    assert Request(budget=size).budget_of(size) == size and Request(budget=np.int64(1)).budget_of(size) == 1
    with pytest.raises(BudgetError, match=f"visual tokens must be a whole number from 1 to {size}; got {size + 1}"):
        Request(budget=size + 1).budget_of(size)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"keep_ratio": 0.5, "budget": 3}, BudgetError),
        ({"budget": True}, BudgetError),
        ({"budget": "4"}, BudgetError),
        ({"budget": -1}, BudgetError),
        ({"keep_ratio": "half"}, BudgetError),
        ({"method": "no such"}, UnknownNameError),
        ({"options": {"warmth": 1}}, UnknownNameError),
        ({"method": "saliency", "floor": 0.1}, UnknownNameError),
        ({"positions": "shuffled"}, UnknownNameError),
        ({"options": {"positions": "original"}}, UnknownNameError),
        ({"newline": ""}, UnknownNameError),
        ({"max_new_tokens": True}, InputError),
        ({"selection": "a tenth"}, InputError),
    ],
)
def test_a_wrong_request_is_never_made(fields: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        request_of(**fields)
    assert isinstance(caught.value, InputError) and str(caught.value).endswith(".")


def test_positions_of_an_earlier_selection_are_kept() -> None:
    """`select` with original positions, then an answer by that selection: as asked in one call."""
    engine, image = engine_of("llava"), picture(80, 60)
    made = selection_of("saliency", positions="original")
    by_selection = engine.answer(image, QUESTIONS[0], selection=made, max_new_tokens=2)
    at_once = engine.answer(image, QUESTIONS[0], budget=5, method="saliency", positions="original", max_new_tokens=2)
    contiguous = engine.answer(image, QUESTIONS[0], selection=replace(made, positions=None), max_new_tokens=2)
    assert torch.allclose(by_selection.first_logprobs, at_once.first_logprobs)
    assert not torch.allclose(by_selection.first_logprobs, contiguous.first_logprobs, atol=1e-6)


@pytest.mark.parametrize("method", [*BEFORE, "fastv"])
def test_a_selection_of_another_image_or_model_is_refused(method: str) -> None:
    """Same size, so only its identity tells; in `answer`, `stream` and a batch."""
    engine, other = engine_of("llava"), engine_of("llava_siglip")
    made = selection_of(method)
    assert other.encode(picture(80, 60)).size == made.kept.shape[0]
    for asked, image, what in ((engine, picture(80, 60, 1), "image"), (other, picture(80, 60), "model")):
        for call in (
            lambda asked=asked, image=image: asked.answer(image, QUESTIONS[0], selection=made),
            lambda asked=asked, image=image: list(asked.stream(image, QUESTIONS[0], selection=made)),
            lambda asked=asked, image=image: asked.answer_batch([(image, QUESTIONS[0])], selections=[made]),
        ):
            with pytest.raises(InputError, match=f"made on another {what}; select anew"):
                call()
    assert engine.answer(picture(80, 60), QUESTIONS[0], selection=made, max_new_tokens=1).selection is made
    for unnamed in (replace(made, image_key=""), replace(made, model_key="")):
        with pytest.raises(InputError, match=r"does not hold which (image|model) it was made on"):
            engine.answer(picture(80, 60), QUESTIONS[0], selection=unnamed, max_new_tokens=1)


def test_visual_tokens_of_another_model_are_refused() -> None:
    visual = engine_of("llava_siglip").encode(picture(80, 60))
    for call in (engine_of("llava").encode, lambda one: engine_of("llava").answer(one, QUESTIONS[0])):
        with pytest.raises(InputError, match="encoded by another model"):
            call(visual)
    twin = load(folder_of("llava_siglip"), device="cpu")
    assert twin.encode(visual) is visual, "a second copy of the same checkpoint is the same model"


def test_a_batch_mixes_given_and_new_selections() -> None:
    engine, images = engine_of("llava"), [picture(80, 60), picture(80, 60, 1)]
    made = selection_of("saliency")
    pairs = [(images[0], QUESTIONS[0]), (images[1], QUESTIONS[1])]
    first, second = engine.answer_batch(pairs, budget=7, method="random", selections=[made, None], max_new_tokens=2)
    alone = engine.answer(images[1], QUESTIONS[1], budget=7, method="random", max_new_tokens=2)
    assert first.selection is made and torch.equal(second.selection.kept, alone.selection.kept)
    with pytest.raises(InputError, match="pruned in the same way"):
        engine.answer_batch(pairs, budget=7, method="fastv", selections=[made, None], max_new_tokens=2)


@pytest.mark.parametrize("method", [*BEFORE, "fastv"])
def test_scores_are_an_image_and_its_question(method: str) -> None:
    """Tokenized and scored once: the answer is that of the picture, and its times hold the work done before."""
    engine, image = engine_of("llava_next_vicuna"), picture(80, 60)
    engine.clear_cache()
    scores = engine.score(image, QUESTIONS[0])
    assert scores.encode_s > 0 and scores.score_s > 0 and scores.tokenized == engine.prompter(QUESTIONS[0])
    plain = engine.answer(image, QUESTIONS[0], 0.25, method=method, max_new_tokens=3)
    calls: list[str] = []
    prompter = engine.prompter
    engine.prompter = lambda *given: calls.append("tokenized") or prompter(*given)  # type: ignore[assignment]
    try:
        found = engine.answer(scores, request=0.25, method=method, max_new_tokens=3)
        streamed = list(engine.stream(scores, QUESTIONS[0], 0.25, method=method, max_new_tokens=3))[-1]
    finally:
        engine.prompter = prompter
    assert calls == [] and found.token_ids == streamed.token_ids == plain.token_ids
    assert torch.equal(found.selection.kept, plain.selection.kept)
    assert found.encode_s == scores.encode_s and plain.encode_s == 0
    assert (found.select_s >= scores.score_s) or not METHODS[method].reads_t2i
    assert found.ttft_s >= found.encode_s + found.select_s + found.prefill_s - 1e-6
    with pytest.raises(InputError, match="another question"):
        engine.answer(scores, QUESTIONS[1])


def test_scores_without_token_ids_are_tokenized() -> None:
    engine = engine_of("llava")
    history = ((QUESTIONS[1], "No."),)
    scores = replace(engine.score(picture(80, 60), QUESTIONS[0], history), tokenized=None)
    found = engine.answer(scores, max_new_tokens=3)
    assert found.token_ids == engine.answer(picture(80, 60), QUESTIONS[0], history=history, max_new_tokens=3).token_ids


@pytest.mark.parametrize("method", [name for name, one in METHODS.items() if not one.reads_t2i])
def test_methods_that_say_so_read_no_t2i(method: str) -> None:
    """The same tokens whatever the T2I attention, and the engine spares itself the scoring."""
    engine = engine_of("llava_next_vicuna")
    visual = engine.encode(picture(80, 60))
    scores = engine.score(visual, QUESTIONS[0])
    noise = replace(scores, t2i=torch.rand(visual.size, generator=torch.Generator().manual_seed(1)))
    request = Request(method, keep_ratio=0.3)
    chosen = [request.select(one) for one in (scores, noise, unscored(visual))]
    for other in chosen[1:]:
        assert torch.equal(chosen[0].kept, other.kept) and torch.equal(chosen[0].mixed, other.mixed)
        assert torch.equal(chosen[0].why, other.why)
    embedded: list[int] = []
    embed = engine.adapter.embed
    engine.adapter.embed = lambda ids: embedded.append(len(ids)) or embed(ids)  # type: ignore[method-assign]
    try:
        answer = engine.answer(visual, QUESTIONS[0], request)
    finally:
        del engine.adapter.embed  # type: ignore[method-assign]
    assert embedded == [] and torch.equal(answer.selection.kept, chosen[0].kept)


@pytest.mark.parametrize("inside", [False, True])
def test_results_can_be_used_in_autograd(inside: bool) -> None:
    """Also where the caller is in inference mode: what an engine hands out are ordinary tensors."""
    engine = load(folder_of("llava"), device="cpu")
    with torch.inference_mode(inside):
        visual = engine.encode(picture(80, 60))
        scores = engine.score(visual, QUESTIONS[0])
        answer = engine.answer(visual, QUESTIONS[0], max_new_tokens=2)
    for tensor in (visual.features, visual.saliency, scores.word_t2i, scores.t2i, answer.first_logprobs):
        weight = torch.ones(tensor.shape[-1], requires_grad=True)
        (tensor * weight).sum().backward()
        assert torch.isfinite(weight.grad).all() and not tensor.requires_grad
