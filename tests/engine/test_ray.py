"""Replicas on a real Ray cluster on this machine: equal to the local engine, and what happens when one of them ends.

Needs the extra `ray`, which the default test command does not install: 40 packages, and Ray takes a minute to start on
two cores. Run with `python -m pytest tests/engine/test_ray.py`.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from helpers.tiny_models import picture, save_tiny

from adafv_core.backends.ray_replica import Call, ImageKey, Missing
from adafv_core.engine import Engine, load
from adafv_core.engine.gate import StopSignal
from adafv_core.errors import InputError, ModelError, PromptError
from adafv_core.images import read_picture
from adafv_core.types import Answer

serve = pytest.importorskip("ray.serve", reason="Ray is not installed: pip install '.[ray]'")
backend = pytest.importorskip("adafv_core.backends.ray")
pytestmark = pytest.mark.nightly

QUESTION = "What shape is the yellow thing?"
TWO = backend.RayOptions(min_replicas=2, max_replicas=2, num_cpus=0.5)
LONG = 300


@pytest.fixture(scope="module")
def local() -> Engine:
    return load("pocket", device="cpu")


@pytest.fixture(scope="module")
def replicas() -> Iterator[backend.RayEngine]:
    yield backend.load("pocket", device="cpu", options=TWO)
    serve.delete(backend.APPLICATION)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose answers never end by themselves: no token ends them that it would ever choose."""
    folder = save_tiny("llava_next_vicuna", tmp_path_factory.mktemp("tiny"))
    file = folder / "generation_config.json"
    settings = json.loads(file.read_text())
    size = json.loads((folder / "config.json").read_text())["text_config"]["vocab_size"]
    file.write_text(json.dumps({**settings, "eos_token_id": size - 1}))
    return folder


@pytest.fixture
def long_answers(tiny: Path) -> Iterator[backend.RayEngine]:
    if backend.APPLICATION in serve.status().applications:
        serve.delete(backend.APPLICATION)
    yield backend.load(tiny, device="cpu", options=TWO)
    serve.delete(backend.APPLICATION)


def scenes(count: int) -> list[object]:
    return [picture(224, 224, seed) for seed in range(count)]


def same(one: Answer, other: Answer) -> bool:
    return (
        one.token_ids == other.token_ids
        and one.text == other.text
        and torch.equal(one.selection.indices, other.selection.indices)
        and one.finished == other.finished
    )


@pytest.mark.parametrize("method", ["adafv", "divprune", "visionzip", "fastv", "full"])
def test_streams_are_those_of_the_local_engine(replicas: backend.RayEngine, local: Engine, method: str) -> None:
    for image in scenes(4):
        ratio = 1.0 if method == "full" else 0.1
        theirs, ours = (list(one.stream(image, QUESTION, ratio, method, max_new_tokens=8)) for one in (replicas, local))
        assert len(theirs) == len(ours) > 0
        assert all(same(*pair) for pair in zip(theirs, ours, strict=True))
        assert theirs[-1].first_logprobs is not None and ours[-1].first_logprobs is not None
        assert torch.equal(theirs[-1].first_logprobs, ours[-1].first_logprobs)


def test_scores_keep_the_image_the_caller_has(replicas: backend.RayEngine, local: Engine) -> None:
    (image,) = scenes(1)
    visual = replicas.encode(image)
    scores = replicas.score(visual, QUESTION)
    assert scores.visual is visual, "the tensors are not sent to and fro"
    expected = local.score(image, QUESTION)
    assert torch.equal(scores.t2i, expected.t2i) and torch.equal(scores.visual.features, expected.visual.features)
    replicas.clear_cache()
    assert same(replicas.answer(scores, keep_ratio=0.1), local.answer(image, QUESTION, 0.1)), "sent along where missing"


def test_batches(replicas: backend.RayEngine, local: Engine) -> None:
    pairs = [(image, QUESTION) for image in scenes(3)]
    for ours, theirs in zip(local.answer_batch(pairs, 0.1), replicas.answer_batch(pairs, 0.1), strict=True):
        assert same(ours, theirs)


def test_an_image_stays_with_one_replica(replicas: backend.RayEngine) -> None:
    """Asked by its key alone, the replica that it is routed to has it; under other names some land where it is not."""
    replicas.clear_cache()
    images = [read_picture(one) for one in scenes(6)]
    for image in images:
        replicas.encode(image)

    def is_missing(key: str, session: str) -> bool:
        call = Call("score", (ImageKey(key), QUESTION), {}, frozenset([key]))
        return any(isinstance(one, Missing) for one in replicas._attempt(call, session, ()))

    assert not any(is_missing(image.key, image.key) for image in images)
    assert any(is_missing(image.key, f"other {number}") for image in images for number in range(4))


def test_errors_are_sentences(replicas: backend.RayEngine) -> None:
    (image,) = scenes(1)
    with pytest.raises(PromptError, match=r"^Expected a question"):
        replicas.score(image, "  ")
    with pytest.raises(InputError, match="no argument 'modle'"):
        backend.application({"modle": "pocket"})
    with pytest.raises(ModelError, match="The cluster serves pocket"):
        backend.load("another", options=TWO)


def test_a_hundred_clients(replicas: backend.RayEngine, local: Engine) -> None:
    images = scenes(10)
    expected = [local.answer(image, QUESTION, 0.1, max_new_tokens=8) for image in images]
    with ThreadPoolExecutor(100) as pool:
        asked = [pool.submit(replicas.answer, images[n % 10], QUESTION, 0.1, None, 8) for n in range(100)]
        assert all(same(one.result(timeout=300), expected[n % 10]) for n, one in enumerate(asked))


def test_stop_reaches_the_replica_within_a_token(long_answers: backend.RayEngine) -> None:
    """The replica that was stopped answers the next question at once, far sooner than the answer would have taken."""
    image = picture(100, 80)
    began = time.monotonic()
    assert len(list(long_answers.stream(image, QUESTION, 1.0, "full", LONG))) >= LONG
    whole_s = time.monotonic() - began
    for stop in (StopSignal(), threading.Event()):
        snapshots = long_answers.stream(image, QUESTION, 1.0, "full", LONG, stop=stop)
        for _ in range(3):
            next(snapshots)
        stop.set()
        began = time.monotonic()
        rest = list(snapshots)
        assert not (rest and rest[-1].finished)
        long_answers.answer(image, QUESTION, 1.0, "full", 1)
        assert time.monotonic() - began < whole_s / 3


def test_nothing_is_lost_with_a_replica(long_answers: backend.RayEngine, tiny: Path) -> None:
    """One of two ends while eight clients ask: each has its whole answer, or one sentence that says it has not."""
    images = [picture(100, 80, seed) for seed in range(8)]
    local = load(tiny, device="cpu")
    expected = [local.answer(image, QUESTION, 0.3, max_new_tokens=LONG) for image in images]
    process_ids = long_answers.process_ids()
    assert len(process_ids) == 2
    shown = threading.Event()

    def ask(image: object) -> Answer | str:
        last = None
        try:
            for last in long_answers.stream(image, QUESTION, 0.3, max_new_tokens=LONG):
                if len(last.token_ids) == 5:
                    shown.set()
        except ModelError as error:
            return str(error)
        assert last is not None
        return last

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, image) for image in images]
        assert shown.wait(60)
        os.kill(process_ids[0], signal.SIGKILL)
        results = [one.result(timeout=120) for one in asked]
    whole = [(one, other) for one, other in zip(results, expected, strict=True) if isinstance(one, Answer)]
    cut = [one for one in results if isinstance(one, str)]
    assert all(same(*pair) for pair in whole) and len(whole) >= 4
    assert set(cut) <= {"The replica ended in the middle of this answer: ask again."}
    again = long_answers.answer(images[0], QUESTION, 0.3, max_new_tokens=LONG)
    assert same(again, expected[0]), "and the application goes on"
