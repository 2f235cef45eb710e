"""A model by its hub id, through the real hub client and a stand-in for the hub: each load is a program of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.model_hub import COMMIT, MODEL_ID, ModelHub, running_model_hub, surroundings
from helpers.tiny_models import save_tiny
from transformers import BertConfig, BertModel, LlavaForConditionalGeneration

from adafv_core.loading.download import DownloadProgress

LARGE_BYTES = 6 * (1 << 14)
ROOT = Path(__file__).resolve().parents[2]
LOAD = f"""
import json, time
from PIL import Image
from adafv_core import load
from adafv_core.errors import ModelError
said, result = [], {{}}
started = time.perf_counter()
try:
    engine = load({MODEL_ID!r}, device="cpu", progress=lambda now: said.append((now.done_bytes, now.total_bytes)))
except ModelError as error:
    result = {{"error": str(error), "kind": type(error).__name__}}
else:
    answer = engine.answer(Image.new("RGB", (80, 60)), "What color is the ring?", max_new_tokens=2)
    result = {{"name": engine.name, "revision": engine.revision, "n_visual": answer.n_visual}}
print(json.dumps({{**result, "said": said, "seconds": time.perf_counter() - started}}))
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A model repository with what real ones have beside the model: pickles, code, words about it."""
    folder = save_tiny("llava", tmp_path / "repository")
    for name in ("pytorch_model.bin", "consolidated.pt", "modeling.py", "README.md", "original/model.safetensors"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"not to be fetched")
    return folder


def load(hub: ModelHub, home: Path, **variables: str) -> dict[str, Any]:
    """Load the hub's model in a program of its own and say what came of it."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD],
        cwd=ROOT,
        env={**os.environ, **surroundings(hub, home), **variables},
        capture_output=True,
        text=True,
        timeout=200,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_the_first_load_tells_how_far_it_is_and_later_ones_need_no_hub(repository: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running_model_hub(repository, break_after=300_000, break_times=1) as hub:
        first = load(hub, home)
        assert hub.break_times == 0, "the connection broke once, and the client went on from there"
        fetched = hub.fetched()
        hub.requests.clear()
        second = load(hub, home)
        assert not [path for method, path in hub.requests if method == "GET" and "/resolve/" in path]
    assert fetched == {path.name for path in repository.iterdir() if path.suffix in (".safetensors", ".json", ".jinja")}
    done, totals = zip(*first["said"], strict=True)
    missing = sum((repository / name).stat().st_size for name in fetched if name != "config.json")
    assert set(totals) == {missing} and done[0] == 0 and done[-1] == missing
    assert list(done) == sorted(set(done)) and len(done) > 3
    for later in (second, load(hub, home, HF_HUB_OFFLINE="1")):
        assert later["said"] == [] and later["seconds"] < 60
        assert {name: first[name] for name in ("name", "revision", "n_visual")} == {
            name: later[name] for name in ("name", "revision", "n_visual")
        }
    assert (first["name"], first["revision"], first["n_visual"]) == (MODEL_ID, COMMIT, 16)


def test_a_download_that_breaks_off_goes_on_with_what_is_missing(repository: Path, tmp_path: Path) -> None:
    whole = LlavaForConditionalGeneration.from_pretrained(repository)
    (repository / "model.safetensors").unlink()
    whole.save_pretrained(repository, max_shard_size="300KB")
    large = {path.name for path in repository.glob("model-*.safetensors") if path.stat().st_size > LARGE_BYTES}
    assert len(large) > 1
    with running_model_hub(repository, break_after=LARGE_BYTES) as hub:
        broken = load(hub, tmp_path / "home")
        kept = hub.fetched() - large
        hub.break_after = None
        hub.requests.clear()
        mended = load(hub, tmp_path / "home")
        assert "tokenizer.json" in kept and hub.fetched() == large
    assert broken["kind"] == "ModelNotFoundError" and broken["said"][-1][0] < broken["said"][-1][1]
    assert f"{MODEL_ID} broke off (at 0." in broken["error"] and "\n" not in broken["error"]
    assert mended["revision"] == COMMIT and mended["said"][-1][0] == mended["said"][-1][1]


def test_a_disk_without_room_is_told_before_anything_is_fetched(repository: Path, tmp_path: Path) -> None:
    with running_model_hub(repository, claimed_bytes=10**18) as hub:
        result = load(hub, tmp_path / "home")
        assert hub.fetched() == {"config.json"}
    assert result["kind"] == "ModelError" and "make room" in result["error"]


def test_a_model_of_another_kind_is_not_fetched(tmp_path: Path) -> None:
    config = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=9)
    BertModel(config).save_pretrained(tmp_path / "repository")
    with running_model_hub(tmp_path / "repository") as hub:
        result = load(hub, tmp_path / "home")
        assert hub.fetched() == {"config.json"}
    assert result["kind"] == "UnsupportedModelError" and result["said"] == []


@pytest.mark.parametrize(
    ("total", "said"),
    [(14_100_000_000, "3.5 of 14.1 GB"), (700_000_000, "0.2 of 0.7 GB"), (40_000_000, "10.0 of 40.0 MB")],
)
def test_bytes_in_words(total: int, said: str) -> None:
    assert str(DownloadProgress(total // 4, total)) == said
