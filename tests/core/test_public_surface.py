"""The public calls as they are promised: names and order of arguments, and errors for what no call can use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from helpers.made_scores import made_scores
from helpers.models_shared import QUESTIONS, engine_of
from helpers.tiny_models import picture

import adafv_core
from adafv_core import METHODS, budget_path, get_method, mix, t2i_attention
from adafv_core.errors import AdaFVError, BudgetError, ScoreError

T2I, SALIENCY = torch.rand(2, 10, generator=torch.Generator().manual_seed(0))


def test_arguments_by_name() -> None:
    words, tokens = torch.randn(2, 3, 8), torch.randn(2, 10, 8)
    assert t2i_attention(text_tokens=words, visual_tokens=tokens, temperature=100.0).shape == (2, 10)
    found = mix(t2i=T2I, saliency=SALIENCY, budget=3, floor=0.0)
    path = budget_path(t2i=T2I, saliency=SALIENCY, floor=0.0)
    assert (found.k_text, found.k_visual) == (path.k_text[3], path.k_visual[3]) and path.k_text.shape == (11,)
    engine = engine_of("llava")
    visual = engine.encode(image=picture(80, 60))
    scores = engine.score(visual_tokens=visual, prompt=QUESTIONS[0])
    assert scores.visual is visual and scores.word_t2i.shape == (len(scores.words), visual.size)
    selection = engine.select(scores, budget=4, method="adafv")
    answer = engine.answer(image=visual, prompt=QUESTIONS[0], keep_ratio=0.25, method="adafv", max_new_tokens=2)
    assert torch.equal(answer.selection.kept, selection.kept)


def test_arguments_in_order() -> None:
    """answer(image, prompt, keep_ratio, method, max_new_tokens), and the same beginning wherever tokens are chosen."""
    engine, image = engine_of("llava"), picture(80, 60)
    answer = engine.answer(image, QUESTIONS[0], 0.25, "saliency", 2)
    assert answer.selection.method == "saliency" and len(answer.token_ids) == 2
    assert engine.select(engine.score(engine.encode(image), QUESTIONS[0]), 0.25, "saliency").size == 4
    assert [one.text for one in engine.stream(image, QUESTIONS[0], 0.25, "saliency", 2)][-1] == answer.text
    assert engine.answer_batch([(image, QUESTIONS[0])], 0.25, "saliency", 2)[0].token_ids == answer.token_ids
    with adafv_core.prune(engine.model, 0.25, "saliency", engine.processor) as pruning:
        assert pruning.method.name == "saliency"


def test_a_tenth_is_kept_by_default() -> None:
    engine, image = engine_of("llava_next_vicuna"), picture(80, 60)
    visual = engine.encode(image)
    assert engine.answer(image, QUESTIONS[0], max_new_tokens=1).n_kept == round(0.1 * visual.size)
    assert engine.select(engine.score(visual, QUESTIONS[0])).size == round(0.1 * visual.size)


def test_numbers_of_numpy_are_numbers() -> None:
    found = mix(T2I, SALIENCY, np.int64(4), floor=np.float32(0.25))
    assert (found.k_text, found.k_visual) == (lambda one: (one.k_text, one.k_visual))(mix(T2I, SALIENCY, 4, 0.25))
    engine = engine_of("llava")
    scores = engine.score(engine.encode(picture(80, 60)), QUESTIONS[0])
    assert engine.select(scores, keep_ratio=np.float32(0.25)).size == 4
    with adafv_core.prune(engine.model, budget=np.int64(3)) as pruning:
        assert pruning.budget == 3


def pick(*arguments: Any) -> Callable[[], Any]:
    return lambda: get_method("adav_authors").pick(*arguments)


WRONG: dict[str, tuple[Callable[[], Any], type[AdaFVError]]] = {
    "pick 0": (pick(T2I, SALIENCY[None], 0), BudgetError),
    "pick below 0": (pick(T2I, SALIENCY[None], -4), BudgetError),
    "pick above N": (pick(T2I, SALIENCY[None], 11), BudgetError),
    "pick a fraction": (pick(T2I, SALIENCY[None], 2.0), BudgetError),
    "pick from NaN": (pick(T2I * float("nan"), SALIENCY[None], 4), ScoreError),
    "pick from a list": (pick([0.5], SALIENCY[None], 1), ScoreError),
    "pick from one axis": (pick(T2I, SALIENCY, 4), ScoreError),
    "a mask that is a list": (lambda: t2i_attention(torch.ones(1, 2), torch.ones(3, 2), 100.0, [True]), ScoreError),  # type: ignore[arg-type]
    "a method that is a list": (lambda: get_method([]), AdaFVError),  # type: ignore[arg-type]
    "a seed that is text": (lambda: get_method("random", seed="a"), AdaFVError),
    "a share that is text": (lambda: get_method("visionzip", dominant="a"), AdaFVError),
    "scores that are none": (lambda: get_method("adafv").select(T2I, 3), ScoreError),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("call", WRONG)
def test_wrong_input_is_a_value_error_of_ours(call: str) -> None:
    run, kind = WRONG[call]
    with pytest.raises(kind) as caught:
        run()
    assert isinstance(caught.value, ValueError) and isinstance(caught.value, AdaFVError)


@pytest.mark.parametrize("method", ["adafv", "fastv"])
def test_the_engine_selects_from_scores_alone(method: str) -> None:
    """Tokens in place of scores, and scores that are not finite, whether or not the method looks at them."""
    engine = engine_of("llava")
    with pytest.raises(ScoreError, match="TokenScores"):
        engine.select(engine.encode(picture(80, 60)), budget=3, method=method)
    wrong = made_scores()
    wrong.t2i[3] = float("nan")
    with pytest.raises(ScoreError, match="finite"):
        engine.select(wrong, budget=3, method=method)


@pytest.mark.parametrize("budget", [0, -1, 2.5, "5", True])
def test_prune_refuses_a_wrong_budget_on_entry(budget: Any) -> None:
    with pytest.raises(BudgetError), adafv_core.prune(engine_of("llava").model, budget=budget):
        pass


def test_methods_are_listed_by_name() -> None:
    assert "adafv" in METHODS and next(iter(METHODS)) == "full"
    assert type(get_method("adafv")) is METHODS["adafv"]
