"""A model by its hub id, through the real hub client and a stand-in for the hub, in programs of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers.model_hub import COMMIT, MODEL_ID, ModelHub, running_model_hub, surroundings
from helpers.tiny_models import save_tiny
from transformers import BertConfig, BertModel, LlavaForConditionalGeneration

from adafv_core.loading.download import DownloadProgress

LARGE_BYTES = 6 * (1 << 14)
ROOT = Path(__file__).resolve().parents[2]
LOAD_AT_EACH_LINE = f"""
import json, sys, time
from PIL import Image
from adafv_core import load
from adafv_core.errors import ModelError
for _ in sys.stdin:
    progress, result = [], {{}}
    report = lambda now: progress.append((now.done_bytes, now.total_bytes))
    started = time.perf_counter()
    try:
        engine = load({MODEL_ID!r}, device="cpu", progress=report)
    except ModelError as error:
        result = {{"error": str(error), "kind": type(error).__name__}}
    else:
        answer = engine.answer(Image.new("RGB", (80, 60)), "What color is the ring?", max_new_tokens=2)
        result = {{"name": engine.name, "revision": engine.revision, "n_visual": answer.n_visual}}
    print(json.dumps({{**result, "progress": progress, "seconds": time.perf_counter() - started}}), flush=True)
"""
Load = Callable[[], dict[str, Any]]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A model repository with what real ones have beside the model: pickles, code, documentation."""
    folder = save_tiny("llava", tmp_path / "repository")
    for name in ("pytorch_model.bin", "consolidated.pt", "modeling.py", "README.md", "original/model.safetensors"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"not to be fetched")
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache folder of the programs, HF_HOME."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def one_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelHub]:
    with running_model_hub(tmp_path_factory.mktemp("nothing")) as hub:
        yield hub


@contextmanager
def running_program(hub: ModelHub, home: Path, errors: Path) -> Iterator[Load]:
    """A running program: each call makes it load the hub's model and returns the outcome. errors: its stderr."""
    with errors.open("w") as stderr:
        running = subprocess.Popen(
            [sys.executable, "-c", LOAD_AT_EACH_LINE],
            cwd=ROOT,
            env={**os.environ, **surroundings(hub, home)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    assert running.stdin is not None and running.stdout is not None
    stdin, stdout = running.stdin, running.stdout

    def load() -> dict[str, Any]:
        stdin.write("load\n")
        stdin.flush()
        line = stdout.readline()
        assert line, errors.read_text()
        result: dict[str, Any] = json.loads(line)
        return result

    try:
        yield load
    finally:
        stdin.close()
        stdout.close()
        running.wait(timeout=30)


@pytest.fixture(scope="module")
def program(one_hub: ModelHub, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    """The program that most tests share."""
    with running_program(one_hub, home, tmp_path_factory.mktemp("program") / "stderr.txt") as load:
        yield load


def load_offline(hub: ModelHub, home: Path) -> dict[str, Any]:
    """Load the model once, in another program that may not ask the hub."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD_AT_EACH_LINE],
        cwd=ROOT,
        env={**os.environ, **surroundings(hub, home), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        input="load\n",
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.fixture
def hub(one_hub: ModelHub, home: Path) -> Iterator[ModelHub]:
    """The hub as it is at first, and an empty cache."""
    vars(one_hub).update({**vars(ModelHub(one_hub.folder)), "address": one_hub.address})
    shutil.rmtree(home / "hub", ignore_errors=True)
    yield one_hub


def test_the_first_load_tells_how_far_it_is_and_later_ones_need_no_hub(
    repository: Path, hub: ModelHub, home: Path, program: Load
) -> None:
    hub.folder, hub.break_after, hub.break_times = repository, 300_000, 1
    first = program()
    assert hub.break_times == 0, "the connection broke once, and the client went on from there"
    fetched = hub.fetched()
    hub.requests.clear()
    second = program()
    assert not [path for method, path in hub.requests if method == "GET" and "/resolve/" in path]
    assert fetched == {path.name for path in repository.iterdir() if path.suffix in (".safetensors", ".json", ".jinja")}
    done, totals = zip(*first["progress"], strict=True)
    missing = sum((repository / name).stat().st_size for name in fetched if name != "config.json")
    assert set(totals) == {missing} and done[0] == 0 and done[-1] == missing
    assert list(done) == sorted(set(done)) and len(done) > 3
    for later in (second, load_offline(hub, home)):
        assert later["progress"] == [] and later["seconds"] < 60
        assert {name: first[name] for name in ("name", "revision", "n_visual")} == {
            name: later[name] for name in ("name", "revision", "n_visual")
        }
    assert (first["name"], first["revision"], first["n_visual"]) == (MODEL_ID, COMMIT, 16)


def test_a_download_that_breaks_off_goes_on_with_what_is_missing(
    repository: Path, hub: ModelHub, home: Path, tmp_path: Path
) -> None:
    whole = LlavaForConditionalGeneration.from_pretrained(repository)
    (repository / "model.safetensors").unlink()
    whole.save_pretrained(repository, max_shard_size="300KB")
    large = {path.name for path in repository.glob("model-*.safetensors") if path.stat().st_size > LARGE_BYTES}
    assert len(large) > 1
    hub.folder, hub.break_after = repository, LARGE_BYTES
    with running_program(hub, home, tmp_path / "stderr.txt") as load:
        broken = load()
        kept = hub.fetched() - large
        hub.break_after = None
        hub.requests.clear()
        completed = load()
    assert "tokenizer.json" in kept and hub.fetched() == large
    assert broken["kind"] == "ModelNotFoundError" and broken["progress"][-1][0] < broken["progress"][-1][1]
    assert f"{MODEL_ID} broke off (at 0." in broken["error"] and "\n" not in broken["error"]
    assert completed["revision"] == COMMIT and completed["progress"][-1][0] == completed["progress"][-1][1]


def test_a_disk_without_room_is_reported_before_anything_is_fetched(
    repository: Path, hub: ModelHub, program: Load
) -> None:
    hub.folder, hub.claimed_bytes = repository, 10**18
    result = program()
    assert hub.fetched() == {"config.json"}
    assert result["kind"] == "ModelError" and "make room" in result["error"]


def test_a_model_of_another_kind_is_not_fetched(tmp_path: Path, hub: ModelHub, program: Load) -> None:
    config = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=9)
    BertModel(config).save_pretrained(tmp_path / "repository")
    hub.folder = tmp_path / "repository"
    result = program()
    assert hub.fetched() == {"config.json"}
    assert result["kind"] == "UnsupportedModelError" and result["progress"] == []


@pytest.mark.parametrize(
    ("total", "words"),
    [(14_100_000_000, "3.5 of 14.1 GB"), (700_000_000, "0.2 of 0.7 GB"), (40_000_000, "10.0 of 40.0 MB")],
)
def test_bytes_in_words(total: int, words: str) -> None:
    assert str(DownloadProgress(total // 4, total)) == words
