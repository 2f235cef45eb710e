"""Easy slips in calling the library: one sentence each that says what to pass, and the next call works."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.models_shared import QUESTIONS, engine_of, folder_of
from helpers.tiny_models import picture

import adafv_core
from adafv_core.engine import Engine, load
from adafv_core.engine.conversation import Conversation
from adafv_core.errors import AdaFVError, ImageError, InputError, PromptError
from adafv_core.types import Answer

IMAGE, QUESTION = picture(80, 60), QUESTIONS[0]
HALF = "What is \ud800?"


def answer(**options: Any) -> Callable[[], Any]:
    return lambda: engine_of("llava").answer(**{"image": IMAGE, "prompt": QUESTION, "max_new_tokens": 1, **options})


def batch(questions: Any, **options: Any) -> Callable[[], Any]:
    return lambda: engine_of("llava").answer_batch(questions, max_new_tokens=1, **options)


def many(images: Any) -> Callable[[], Any]:
    return lambda: engine_of("llava").encode_many(images)


def pruned(processor: Callable[[Engine], Any]) -> Callable[[], Any]:
    def call() -> None:
        engine = engine_of("llava")
        with adafv_core.prune(engine.model, processor=processor(engine)):
            pass

    return call


def earlier_half() -> Any:
    return answer(history=[(QUESTION, HALF)])


WRONG: dict[str, tuple[Callable[[], Any], type[AdaFVError], str]] = {
    "a turn that is text": (answer(history=["x"]), InputError, r"\(question, answer\) pairs of two texts.*got 'x'"),
    "a turn of two letters": (answer(history=["ab"]), InputError, "pairs of two texts each; got 'ab'"),
    "a turn of three": (answer(history=[("a", "b", "c")]), InputError, r"pairs of two texts each; got \('a', 'b', 'c'"),
    "a turn without answer": (answer(history=[("a", None)]), InputError, r"pairs of two texts each; got \('a', None"),
    "history as text": (answer(history="ab"), InputError, "must be a list of .* pairs.*got 'ab'"),
    "history None": (answer(history=None), InputError, "must be a list of .* pairs.*got NoneType"),
    "history that runs out": (answer(history=iter([("a", "b")])), InputError, "must be a list of .* pairs"),
    "half a character": (answer(prompt=HALF), PromptError, r"half a character, '\\ud800' at index 8"),
    "half a character before": (earlier_half(), PromptError, r"A turn of history holds half a character"),
    "half a character scored": (lambda: engine_of("llava").score(IMAGE, HALF), PromptError, "half a character"),
    "a selection by name": (answer(selection="x"), InputError, "what `select` returns.*got str"),
    "a batch of images": (batch([IMAGE]), InputError, r"\(image, prompt\) pairs; got Image as question 0"),
    "a batch of triples": (batch([(IMAGE, QUESTION), (IMAGE, QUESTION, 1)]), InputError, "tuple of 3 as question 1"),
    "a batch that is text": (batch("ab"), InputError, "a list of .* pairs; got str"),
    "a batch that is none": (batch(None), InputError, "a list of .* pairs; got NoneType"),
    "a batch size as text": (batch([(IMAGE, QUESTION)], batch_size="4"), InputError, "batch_size .* whole number"),
    "selections by name": (batch([(IMAGE, QUESTION)], selections="x"), InputError, "one selection a question; got str"),
    "a wrong selection": (batch([(IMAGE, QUESTION)], selections=["x"]), InputError, "what `select` returns.*got str"),
    "one image as many": (many(IMAGE), ImageError, "a list of images, `encode` one image alone; got Image"),
    "one array as many": (many(np.asarray(IMAGE)), ImageError, "one image alone; got ndarray"),
    "one path as many": (many("picture.png"), ImageError, "one image alone; got str"),
    "no images": (many(None), ImageError, "one image alone; got NoneType"),
    "a device that is a list": (lambda: load("pocket", device=[]), InputError, "Expected device 'auto' or one of"),  # type: ignore[arg-type]
    "a run that is None": (lambda: adafv_core.read_run(None), InputError, "text of a saved file.*got NoneType"),  # type: ignore[arg-type]
    "a run that is a path": (lambda: adafv_core.read_run(Path("a")), InputError, "`Path.read_text` gives"),  # type: ignore[arg-type]
    "a tokenizer to prune": (pruned(lambda engine: engine.tokenizer), InputError, "model's processor.*got Tokenize"),
    "a name to prune": (pruned(lambda engine: engine.name), InputError, "the model's processor.*got str"),
    "a seed of 71 bits": (answer(method="random", seed=2**70), InputError, r"-2\*\*63 to 2\*\*64 - 1.* 71 bits"),
    "a seed below all": (answer(method="random", seed=-(2**64)), InputError, "seed must be from"),
    "an endless seed": (answer(method="random", seed=10**5000), InputError, "seed must be from"),
}


@pytest.mark.parametrize("call", WRONG)
def test_a_slip_gets_one_sentence(call: str) -> None:
    run, kind, said = WRONG[call]
    with pytest.raises(kind, match=said) as caught:
        run()
    assert isinstance(caught.value, InputError)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)
    assert "generate" not in engine_of("llava").model.__dict__
    assert answer()().token_ids


def test_a_generator_of_right_pairs_is_a_batch() -> None:
    engine = engine_of("llava")
    pairs = [(IMAGE, QUESTION), (picture(60, 80, 1), QUESTIONS[1])]
    lazily = engine.answer_batch((pair for pair in pairs), max_new_tokens=2, selections=iter([None, None]))
    assert [one.token_ids for one in lazily] == [one.token_ids for one in engine.answer_batch(pairs, max_new_tokens=2)]
    assert engine.encode_many(image for image, _ in pairs) == [engine.encode(image) for image, _ in pairs]


def test_turns_may_be_lists() -> None:
    """As JSON holds them."""
    told = [answer(history=history)().token_ids for history in ([["Is it red?", "No."]], (("Is it red?", "No."),))]
    assert told[0] == told[1]


def test_no_device_is_any_device() -> None:
    engine = load(folder_of("llava"), device=None)
    assert engine.device == load(folder_of("llava"), device="auto").device


@pytest.mark.parametrize("seed", [-(2**63), 2**64 - 1])
def test_the_outermost_seeds(seed: int) -> None:
    assert answer(method="random", seed=seed, budget=4)().selection.size == 4


@pytest.mark.parametrize(
    "function",
    [
        load,
        Engine.answer,
        Engine.answer_batch,
        Engine.stream,
        Engine.select,
        Engine.encode,
        Engine.encode_many,
        Engine.score,
        Engine.conversation,
        Conversation.ask,
        Conversation.stream,
    ],
    ids=lambda function: function.__qualname__,
)
def test_a_call_says_what_it_raises(function: Callable[..., Any]) -> None:
    assert "Raises" in (inspect.getdoc(function) or "")


def test_every_argument_and_field_is_explained() -> None:
    assert not [name for name in inspect.signature(load).parameters if f"{name}:" not in (load.__doc__ or "")]
    assert not [name for name in Answer.__dataclass_fields__ if name not in (Answer.__doc__ or "")]
