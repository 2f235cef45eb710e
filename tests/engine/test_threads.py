"""Many callers at once: every answer is the one a caller alone would get, for every method."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from helpers.models_shared import QUESTIONS, folder_of, pictures
from helpers.tiny_models import picture

import adafv_core
from adafv_core.engine import Engine, load
from adafv_core.engine.gate import Gate
from adafv_core.errors import AdaFVError, InputError, StoppedError
from adafv_core.loading.load import load_model
from adafv_core.methods import METHODS


def engines() -> tuple[Engine, Engine]:
    """Two engines over one model object."""
    loaded = load_model(folder_of("llava_next_vicuna"), device="cpu")
    return Engine(loaded), Engine(loaded)


def calls_of(engine: Engine, image: Any, question: str, method: str) -> list[Callable[[], tuple[Any, ...]]]:
    options: dict[str, Any] = {"keep_ratio": 0.2, "method": method, "max_new_tokens": 4}

    def of(answer: Any) -> tuple[Any, ...]:
        return answer.token_ids, answer.text, answer.selection.indices.tolist(), answer.n_kept, answer.n_text

    return [
        lambda: of(engine.answer(image, question, **options)),
        lambda: of(list(engine.stream(image, question, **options))[-1]),
        lambda: of(engine.answer_batch([(image, question)], **options)[0]),
    ]


@pytest.mark.parametrize("method", METHODS)
def test_answers_of_threads_are_those_of_one(method: str) -> None:
    """On two engines over one model, with calls that fail in between."""
    first, second = engines()
    asks = list(zip(pictures()[:3], QUESTIONS[:3], strict=True))
    alone = [call() for image, question in asks for call in calls_of(first, image, question, method)]

    def failing() -> None:
        with pytest.raises(AdaFVError):
            first.answer(picture(80, 60), QUESTIONS[0], budget=10**6, method=method)

    with ThreadPoolExecutor(8) as pool:
        jobs = []
        for engine in (first, second):
            for image, question in asks:
                jobs += [pool.submit(call) for call in calls_of(engine, image, question, method)]
                pool.submit(failing)
        found = [job.result(timeout=120) for job in jobs]
    assert found == alone * 2
    assert not first.model.lm_head._forward_hooks


@pytest.mark.parametrize("method", ["adafv", "adafv_d", "fastv", "sparsevlm", "pyramiddrop"])
def test_a_call_that_fails_in_the_middle_leaves_the_others_alone(method: str) -> None:
    """One caller's stop signal raises at its second token while others wait for their turn."""
    engine, _ = engines()
    expected = engine.answer(picture(80, 60), QUESTIONS[0], 0.2, method=method, max_new_tokens=5).token_ids

    def broken() -> Callable[[], bool]:
        calls: list[int] = []

        def stop() -> bool:
            calls.append(1)
            if len(calls) > 3:
                raise ZeroDivisionError("in the middle")
            return False

        return stop

    def fail() -> str:
        try:
            engine.answer(picture(80, 60), QUESTIONS[0], 0.2, method=method, max_new_tokens=5, stop=broken())
        except ZeroDivisionError:
            return "failed"
        return "answered"

    def ask() -> tuple[int, ...]:
        return engine.answer(picture(80, 60), QUESTIONS[0], 0.2, method=method, max_new_tokens=5).token_ids

    with ThreadPoolExecutor(6) as pool:
        jobs = [pool.submit(fail if number % 3 == 0 else ask) for number in range(12)]
        found = [job.result(timeout=120) for job in jobs]
    assert found == ["failed" if number % 3 == 0 else expected for number in range(12)]


def test_an_engine_and_a_prune_block_take_turns() -> None:
    """Over one model: neither sees the other's hooks."""
    engine, _ = engines()
    text = engine.prompter.render(QUESTIONS[1])
    inputs = engine.processor(images=[picture(80, 60)], text=[text], return_tensors="pt")
    expected = engine.answer(picture(60, 80, 2), QUESTIONS[0], 0.2, method="fastv", max_new_tokens=4).token_ids
    with adafv_core.prune(engine.model, 0.2, "fastv", engine.processor):
        pruned = engine.model.generate(**inputs, max_new_tokens=4, do_sample=False)
        with ThreadPoolExecutor(2) as pool:
            asked = [
                pool.submit(
                    lambda: (
                        engine.answer(picture(60, 80, 2), QUESTIONS[0], 0.2, method="fastv", max_new_tokens=4).token_ids
                    )
                )
                for _ in range(6)
            ]
            assert all(one.result(timeout=120) == expected for one in asked)
    assert pruned.shape[0] == 1


def test_models_with_a_common_gate_never_run_beside_each_other() -> None:
    gate = Gate()
    both = [load(folder_of(family), device="cpu", gate=gate) for family in ("llava", "llava_siglip")]
    inside, most, guard = [0], [0], threading.Lock()

    def enter(*_: Any) -> None:
        with guard:
            inside[0] += 1
            most[0] = max(most[0], inside[0])

    def leave(*_: Any) -> None:
        with guard:
            inside[0] -= 1

    for engine in both:
        engine.model.register_forward_pre_hook(enter)
        engine.model.register_forward_hook(leave)
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(both[n % 2].answer, picture(80, 60), QUESTIONS[0], max_new_tokens=3) for n in range(8)]
        assert all(job.result(timeout=120).token_ids for job in jobs)
    assert most == [1]
    with pytest.raises(InputError, match="a gate of its own"):
        Engine(load_model(folder_of("llava"), device="cpu"), gate=gate) and Engine(_loaded_again(both[0]), gate=Gate())


def _loaded_again(engine: Engine) -> Any:
    from adafv_core.loading.load import LoadedModel

    return LoadedModel(engine.adapter, engine.name, engine.revision, engine.device, engine.dtype, engine.weights)


def test_a_stream_that_nobody_reads_on_does_not_hold_the_model() -> None:
    engine, _ = engines()
    stream = engine.stream(picture(80, 60), QUESTIONS[0], max_new_tokens=8)
    next(stream)
    assert engine.answer(picture(80, 60), QUESTIONS[1], max_new_tokens=2).token_ids
    assert list(stream)[-1].finished


def test_a_call_before_the_engine_is_free_can_be_given_up() -> None:
    engine, _ = engines()
    stop = threading.Event()
    with engine.gate.turn():
        threading.Timer(0.1, stop.set).start()
        with ThreadPoolExecutor(1) as pool, pytest.raises(StoppedError):
            pool.submit(engine.score, picture(80, 60), QUESTIONS[0], stop=stop).result(timeout=20)
    assert torch.is_tensor(engine.score(picture(80, 60), QUESTIONS[0]).t2i)
