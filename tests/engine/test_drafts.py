"""How likely a run finds a given answer, against stock logits of the same tokens, and against forcing by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers.models_shared import QUESTIONS, engine_of
from helpers.tiny_models import picture

from adafv_core.engine import Engine
from adafv_core.errors import InputError

DRAFTS: tuple[tuple[int, ...] | None, ...] = ((5, 9, 7), None, (11,))


def asks() -> list[tuple[Any, str]]:
    return [(picture(80, 60, number), QUESTIONS[number % 2]) for number in range(3)]


def stock_logprob(engine: Engine, image: Any, question: str, draft: tuple[int, ...]) -> float:
    """Stock, in one forward pass over the prompt and the draft, with all visual tokens."""
    inputs = engine.processor(images=image, text=engine.prompter.render(question), return_tensors="pt")
    ids = torch.cat((inputs["input_ids"], torch.tensor([draft])), dim=1)
    with torch.no_grad():
        logits = engine.model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            **{name: value for name, value in inputs.items() if name not in ("input_ids", "attention_mask")},
        ).logits[0, -len(draft) - 1 : -1]
    return float(logits.log_softmax(-1).gather(1, torch.tensor(draft)[:, None]).sum())


def test_a_draft_s_probability_is_that_of_stock_logits() -> None:
    engine = engine_of("llava")
    answers = engine.answer_batch(asks(), 1.0, method="full", max_new_tokens=3, batch_size=3, drafts=DRAFTS)
    for (image, question), draft, answer in zip(asks(), DRAFTS, answers, strict=True):
        if draft is None:
            assert answer.draft_logprob is None
        else:
            assert answer.draft_logprob == pytest.approx(stock_logprob(engine, image, question, draft), abs=2e-4)


@pytest.mark.parametrize("method", ["adafv", "fastv", "visionzip"])
def test_drafts_change_no_answer_and_a_greedy_answer_has_its_own_probability(method: str) -> None:
    engine = engine_of("llava")
    options: dict[str, Any] = {"keep_ratio": 0.25, "method": method, "max_new_tokens": 3, "batch_size": 2}
    plain = engine.answer_batch(asks(), **options)
    answers = engine.answer_batch(asks(), drafts=DRAFTS, **options)
    assert [one.token_ids for one in answers] == [one.token_ids for one in plain]
    own = engine.answer_batch(asks(), drafts=[one.token_ids for one in plain], **options)
    itself = engine.answer_batch(asks(), drafts=[()] * 3, **options)
    for first, second in zip(itself, own, strict=True):
        assert first.draft_logprob == pytest.approx(second.draft_logprob, abs=1e-4)
    for answer, greedy, draft in zip(answers, own, DRAFTS, strict=True):
        assert greedy.draft_logprob is not None and answer.first_logprobs is not None
        assert greedy.first_logprobs is not None
        assert greedy.draft_logprob <= float(greedy.first_logprobs.max()) + 1e-5
        assert torch.equal(answer.selection.kept, greedy.selection.kept)
        if draft is not None and len(draft) == 1:
            assert answer.draft_logprob == pytest.approx(float(answer.first_logprobs[draft[0]]), abs=1e-4)
    again = engine.answer_batch(
        asks()[:1], selections=[answers[0].selection], drafts=[DRAFTS[0]], method=method, max_new_tokens=1
    )
    assert again[0].draft_logprob == pytest.approx(answers[0].draft_logprob, abs=1e-4)
    assert not engine.model.get_output_embeddings()._forward_hooks


def test_wrong_drafts_are_named() -> None:
    engine = engine_of("llava")
    for drafts in ([(1,)], [(True,), None, None], [(10**9,), None, None], [("a",), None, None], 5):
        with pytest.raises(InputError, match="draft"):
            engine.answer_batch(asks(), drafts=drafts, max_new_tokens=1)
