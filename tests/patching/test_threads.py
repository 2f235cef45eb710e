"""Calls in several threads, in several blocks, beside an engine and within each other: each gets its own answer."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from helpers.models_shared import QUESTIONS, engine_of, folder_of, pictures, stock_inputs
from transformers import LogitsProcessorList

import adafv_core
from adafv_core.engine import Engine
from adafv_core.engine.gate import gate_of
from adafv_core.errors import PromptError
from adafv_core.methods import METHODS
from adafv_core.patching import PrunedCall

FAMILY = "llava_next_vicuna"
CALL: dict[str, Any] = {"max_new_tokens": 3, "do_sample": False, "return_dict_in_generate": True}
N_THREADS = 8


@pytest.fixture(autouse=True)
def frequent_switches() -> Iterator[None]:
    """Let threads meet in the middle of calls even on an idle machine."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return engine_of(FAMILY)


@pytest.fixture(scope="module")
def jobs(engine: Engine) -> list[dict[str, Any]]:
    """The inputs of one question about each of several pictures of different sizes."""
    asked = zip(pictures(), QUESTIONS, strict=True)
    return [dict(stock_inputs(engine, [image], [question])) for image, question in asked]


def fails_midway(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    raise ZeroDivisionError


def kept(call: PrunedCall) -> list[list[list[int]]]:
    return [[one.indices.tolist() for one in row] for row in call.selections]


def seen(output: Any) -> tuple[Any, ...]:
    return output.sequences.tolist(), kept(output.pruned)


def in_threads(work: Callable[[int], Any], count: int) -> list[Any]:
    with ThreadPoolExecutor(N_THREADS) as pool:
        return list(pool.map(work, range(count)))


@pytest.mark.parametrize("method", METHODS)
def test_every_thread_gets_the_answer_it_gets_alone(engine: Engine, jobs: list[dict[str, Any]], method: str) -> None:
    """Also where calls beside it fail before they run, or in the middle of their answer."""
    with adafv_core.prune(engine.model, 0.3, method, engine.processor) as pruning:
        alone = [seen(engine.model.generate(**job, **CALL)) for job in jobs]

        def work(number: int) -> None:
            job = jobs[number % len(jobs)]
            if number % 6 == 4:
                with pytest.raises(PromptError):
                    cut = {name: job[name][:, :-20] for name in ("input_ids", "attention_mask")}
                    engine.model.generate(**{**job, **cut}, **CALL)
                assert pruning.selections == []
            elif number % 6 == 5:
                with pytest.raises(ZeroDivisionError):
                    engine.model.generate(**job, **CALL, logits_processor=LogitsProcessorList([fails_midway]))
                assert pruning.selections == []
            else:
                output = engine.model.generate(**job, **CALL)
                assert seen(output) == alone[number % len(jobs)]
                assert kept(pruning.latest) == kept(output.pruned)

        in_threads(work, 30)
        assert pruning.n_calls == len(jobs) + 20
        assert pruning.totals.n_images == pruning.n_calls
    assert "generate" not in engine.model.__dict__


@pytest.mark.parametrize("methods", [("adafv", "saliency"), ("fastv", "fastv"), ("fastv", "visionzip")])
def test_each_of_two_blocks_over_one_model_prunes_its_own_threads_calls(
    engine: Engine, jobs: list[dict[str, Any]], methods: tuple[str, str]
) -> None:
    """Two threads, each with its own block; the block entered first ends first, while the other still runs."""
    alone = []
    for method, budget in zip(methods, (5, 9), strict=True):
        with adafv_core.prune(engine.model, method=method, budget=budget, processor=engine.processor):
            alone.append([seen(engine.model.generate(**job, **CALL)) for job in jobs])
    both_open, first_closed = threading.Barrier(2, timeout=60), threading.Event()

    def work(number: int) -> None:
        budget = (5, 9)[number]
        with adafv_core.prune(engine.model, method=methods[number], budget=budget, processor=engine.processor):
            both_open.wait()
            for job, expected in zip(jobs, alone[number], strict=True):
                assert seen(engine.model.generate(**job, **CALL)) == expected
            if number == 1:
                assert first_closed.wait(60)
                assert seen(engine.model.generate(**jobs[0], **CALL)) == alone[1][0]
        if number == 0:
            first_closed.set()

    in_threads(work, 2)
    assert "generate" not in engine.model.__dict__


def test_each_of_two_tasks_has_its_own_block(engine: Engine, jobs: list[dict[str, Any]]) -> None:
    async def task(budget: int, both_open: asyncio.Barrier) -> list[int]:
        with adafv_core.prune(engine.model, budget=budget, processor=engine.processor):
            await both_open.wait()
            outputs = [await asyncio.to_thread(engine.model.generate, **job, **CALL) for job in jobs[:3]]
            return [output.pruned.selections[0][0].size for output in outputs]

    async def both() -> tuple[list[int], list[int]]:
        barrier = asyncio.Barrier(2)
        five, nine = await asyncio.gather(task(5, barrier), task(9, barrier))
        return five, nine

    with ThreadPoolExecutor(1) as pool:  # this thread may have a loop of its own already, Playwright's for example
        assert pool.submit(lambda: asyncio.run(both())).result(timeout=120) == ([5, 5, 5], [9, 9, 9])


@pytest.mark.parametrize("method", ["adafv", "fastv"])
def test_threads_without_a_block_of_their_own_use_the_innermost(
    engine: Engine, jobs: list[dict[str, Any]], method: str
) -> None:
    with adafv_core.prune(engine.model, budget=9, processor=engine.processor) as outer:
        with adafv_core.prune(engine.model, method=method, budget=5, processor=engine.processor) as inner:
            sizes = in_threads(
                lambda number: engine.model.generate(**jobs[number % 5], **CALL).pruned.selections[0][0].size, 10
            )
        assert set(sizes) == {5} and (inner.n_calls, outer.n_calls) == (10, 0)
        assert engine.model.generate(**jobs[0], **CALL).pruned.selections[0][0].size == 9
        assert outer.n_calls == 1


@pytest.mark.parametrize("method", ["adafv", "fastv"])
def test_an_engine_over_the_same_model_answers_beside_it(
    engine: Engine, jobs: list[dict[str, Any]], method: str
) -> None:
    """Text-only calls of the block run between them, too."""
    other = adafv_core.load(folder_of(FAMILY), device="cpu", cache_bytes=0)
    other.model, other.adapter = engine.model, engine.adapter
    text = engine.tokenizer("How many circles are there?", return_tensors="pt")
    text_alone = engine.model.generate(**text, max_new_tokens=3, do_sample=False)
    asked = list(zip(pictures(), QUESTIONS, strict=True))

    def answer(place: int) -> Any:
        image, question = asked[place]
        return engine.answer(engine.encode(image), question, 0.25, ("fastv", "adafv")[place % 2], 3)

    answers = [answer(place) for place in range(len(asked))]
    with adafv_core.prune(engine.model, 0.3, method, engine.processor):
        alone = [seen(engine.model.generate(**job, **CALL)) for job in jobs]

        def work(number: int) -> None:
            place = number // 3 % len(asked)
            if number % 3 == 0:
                assert seen(engine.model.generate(**jobs[place], **CALL)) == alone[place]
            elif number % 3 == 1:
                assert torch.equal(engine.model.generate(**text, max_new_tokens=3, do_sample=False), text_alone)
            else:
                found = answer(place)
                assert found.token_ids == answers[place].token_ids
                assert torch.equal(found.selection.kept, answers[place].selection.kept)
                assert torch.equal(found.first_logprobs, answers[place].first_logprobs)

        in_threads(work, 45)


@pytest.mark.parametrize("method", ["adafv", "fastv"])
def test_a_call_within_a_call(engine: Engine, jobs: list[dict[str, Any]], method: str) -> None:
    """What a caller's logits processor asks the model itself, about another picture or without any."""
    text = engine.tokenizer("How many circles are there?", return_tensors="pt")
    text_alone = engine.model.generate(**text, max_new_tokens=3, do_sample=False)
    with adafv_core.prune(engine.model, 0.3, method, engine.processor) as pruning:
        alone = [seen(engine.model.generate(**job, **CALL)) for job in jobs]

        def asks(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            assert seen(engine.model.generate(**jobs[1], **CALL)) == alone[1]
            assert torch.equal(engine.model.generate(**text, max_new_tokens=3, do_sample=False), text_alone)
            return scores

        output = engine.model.generate(**jobs[0], **CALL, logits_processor=LogitsProcessorList([asks]))
        assert seen(output) == alone[0]
        assert kept(pruning.latest) == alone[0][1]


def test_a_stream_of_the_engine_may_ask_the_block(engine: Engine, jobs: list[dict[str, Any]]) -> None:
    """The engine holds the model's gate between two tokens; a call of the same thread passes."""
    with adafv_core.prune(engine.model, 0.3, processor=engine.processor):
        alone = seen(engine.model.generate(**jobs[1], **CALL))
        whole = engine.answer(pictures()[0], QUESTIONS[0], 0.3, "fastv", 4)
        snapshots = []
        for snapshot in engine.stream(pictures()[0], QUESTIONS[0], 0.3, "fastv", 4):
            snapshots.append(snapshot.token_ids)
            assert seen(engine.model.generate(**jobs[1], **CALL)) == alone
        assert snapshots[-1] == whole.token_ids


def test_who_called_nothing_reads_the_latest_call_of_the_block(engine: Engine, jobs: list[dict[str, Any]]) -> None:
    """A call in a thread of its own, as with `TextIteratorStreamer`, is read where its stream is."""
    with adafv_core.prune(engine.model, budget=5, processor=engine.processor) as pruning:
        worker = threading.Thread(target=engine.model.generate, kwargs={**jobs[0], "max_new_tokens": 2})
        worker.start()
        worker.join()
        assert pruning.selections[0][0].size == 5


def test_blocks_and_engines_over_one_model_share_its_gate(engine: Engine, jobs: list[dict[str, Any]]) -> None:
    """A call waits while another thread holds the gate of the model."""
    with adafv_core.prune(engine.model, budget=5, processor=engine.processor), ThreadPoolExecutor(1) as pool:
        with gate_of(engine.model).turn():
            waiting = pool.submit(engine.model.generate, **jobs[0], **CALL)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.5)
            assert engine.model.generate(**jobs[1], **CALL).pruned.selections[0][0].size == 5
        assert waiting.result(timeout=60).pruned.selections[0][0].size == 5
