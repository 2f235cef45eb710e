"""Streaming: snapshots, stopping, one job at a time."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from typing import Any

import pytest
import torch
from helpers.models_shared import QUESTIONS, engine_of, folder_of
from helpers.tiny_models import FAMILIES, picture

from adafv_core.engine import Engine, load
from adafv_core.engine.streaming import TextStream
from adafv_core.errors import InputError, ModelError

LONG = 60


def endless(family: str = "llava") -> Engine:
    """An engine whose model never ends by itself."""
    engine = load(folder_of(family), device="cpu")
    engine.model.generation_config.eos_token_id = None
    return engine


@pytest.mark.parametrize("family", FAMILIES)
def test_snapshots_grow_to_the_answer(family: str) -> None:
    engine = engine_of(family)
    seen = list(engine.stream(picture(80, 60), QUESTIONS[0], 0.25, max_new_tokens=8))
    last = engine.answer(picture(80, 60), QUESTIONS[0], 0.25, max_new_tokens=8)
    assert [len(one.token_ids) for one in seen[:-1]] == list(range(1, len(seen)))
    assert seen[-1].token_ids == seen[-2].token_ids == last.token_ids
    assert [one.finished for one in seen] == [False] * (len(seen) - 1) + [True]
    assert seen[-1].text == last.text
    assert all(one.ttft_s == seen[0].ttft_s > 0 for one in seen)
    assert all(one.first_logprobs is not None for one in seen)


TEXTS = (
    "Ring — ring 🟢 größe\nnew line, 数字 7",
    "  two  spaces, a full stop . and it's",
    "What color is the ring?",
    "<image> and </s> and <|im_end|>",
)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_text_grows_without_ever_showing_half_a_character(family: str, text: str) -> None:
    """Byte-level and sentencepiece-like tokenizers: pieces that add up to what stock decoding gives."""
    tokenizer = engine_of(family).tokenizer
    ids = tokenizer(text)["input_ids"]
    stream = TextStream(tokenizer)
    shown = [stream.add(one) for one in ids]
    assert all("\ufffd" not in one for one in shown)
    assert all(later.startswith(earlier) for earlier, later in pairwise(shown))
    assert shown[-1] == tokenizer.decode(ids, skip_special_tokens=True).strip()


@pytest.mark.parametrize("family", FAMILIES)
def test_bytes_that_form_no_character_end_no_stream(family: str) -> None:
    """Random token ids, as an untrained model or a high temperature gives them."""
    tokenizer = engine_of(family).tokenizer
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        stream = TextStream(tokenizer)
        shown = [stream.add(one) for one in torch.randint(len(tokenizer), (40,), generator=generator).tolist()]
        assert all(later.startswith(earlier) for earlier, later in pairwise(shown))


@pytest.mark.parametrize("text", ["ring", "a red ring and a blue star", "2"])
def test_text_grows_word_by_word(text: str) -> None:
    """The pocket model's tokenizer has one token per word."""
    tokenizer = load("pocket", device="cpu").tokenizer
    stream = TextStream(tokenizer)
    shown = [stream.add(one) for one in tokenizer(text, add_special_tokens=False)["input_ids"]]
    assert shown == [" ".join(text.split()[: count + 1]) for count in range(len(shown))]


@pytest.mark.parametrize("kind", ["event", "callable"])
def test_stop_ends_the_run_within_a_token(kind: str) -> None:
    engine, event = endless(), threading.Event()
    stop: Any = event if kind == "event" else event.is_set
    seen = []
    for snapshot in engine.stream(picture(80, 60), QUESTIONS[0], max_new_tokens=1000, stop=stop):
        seen.append(snapshot)
        if len(seen) == 5:
            event.set()
    assert 5 <= len(seen[-1].token_ids) < 60
    assert not seen[-1].finished
    assert engine.answer(picture(80, 60), QUESTIONS[0], max_new_tokens=3).finished


def test_closing_the_iterator_frees_the_model() -> None:
    engine = endless()
    stream = engine.stream(picture(80, 60), QUESTIONS[0], max_new_tokens=100_000)
    next(stream)
    stream.close()
    assert not [one for one in threading.enumerate() if one.name == "adafv-generate"]
    assert not engine.model.lm_head._forward_hooks
    assert engine.answer(picture(80, 60), QUESTIONS[0], max_new_tokens=3).finished


def test_a_failing_stop_signal_is_raised_and_frees_the_model() -> None:
    engine = endless()

    def broken() -> bool:
        raise ZeroDivisionError("signal")

    with pytest.raises(ZeroDivisionError):
        engine.answer(picture(80, 60), QUESTIONS[0], stop=broken)
    assert engine.answer(picture(80, 60), QUESTIONS[0], max_new_tokens=3).finished


def test_jobs_never_overlap() -> None:
    """Four callers at once: at no time are two inside the LLM."""
    engine = load(folder_of("llava"), device="cpu")
    inside, most = 0, 0
    guard = threading.Lock()

    def enter(*_: Any) -> None:
        nonlocal inside, most
        with guard:
            inside += 1
            most = max(most, inside)
        time.sleep(0.001)

    def leave(*_: Any) -> None:
        nonlocal inside
        with guard:
            inside -= 1

    engine.model.register_forward_pre_hook(enter)
    engine.model.register_forward_hook(leave)
    found: dict[int, tuple[int, ...]] = {}

    def ask(number: int) -> None:
        found[number] = engine.answer(picture(80, 60, number), QUESTIONS[number], max_new_tokens=6).token_ids

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    for number, ids in found.items():
        assert engine.answer(picture(80, 60, number), QUESTIONS[number], max_new_tokens=6).token_ids == ids


def test_a_waiting_caller_can_be_stopped() -> None:
    engine, stop = endless(), threading.Event()
    running = engine.stream(picture(80, 60), QUESTIONS[0], max_new_tokens=100_000)
    next(running)
    stop.set()
    assert list(engine.stream(picture(80, 60), QUESTIONS[1], stop=stop)) == []
    with pytest.raises(ModelError, match="before it began"):
        engine.answer(picture(80, 60), QUESTIONS[1], stop=stop)
    running.close()


def test_a_stopped_batch_returns_what_it_has() -> None:
    engine, calls = endless(), []

    def stop() -> bool:
        calls.append(1)
        return len(calls) > 6

    asks = [(picture(80, 60), question) for question in QUESTIONS]
    answers = engine.answer_batch(asks, max_new_tokens=1000, batch_size=2, stop=stop)
    assert len(answers) == 2
    assert all(0 < len(one.token_ids) < 10 and not one.finished for one in answers)


def test_a_batch_wants_one_selection_a_question() -> None:
    engine = engine_of("llava")
    with pytest.raises(InputError, match="one selection a question"):
        engine.answer_batch([(picture(80, 60), QUESTIONS[0])], selections=[])


def test_generation_leaves_random_numbers_and_gradients_alone() -> None:
    engine = engine_of("llava")
    torch.manual_seed(3)
    before = torch.get_rng_state()
    engine.answer(picture(80, 60), QUESTIONS[0], method="random", max_new_tokens=3)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.is_grad_enabled()
