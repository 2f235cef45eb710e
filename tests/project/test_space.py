"""A Space: what it starts with, the real `spaces` package off ZeroGPU, and ZeroGPU's fork semantics imitated."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import weakref
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

import adafv_core
from adafv_core.engine.backend import Backend as Engine
from adafv_core.errors import ModelError, OutOfMemoryError
from app.explore.model_menu import build_offer
from app.serving.models import ON_A_GPU, POCKET, load_first, starting_model
from app.serving.zero_gpu import duration_s
from app.settings import Settings, read_settings, settings_table

ROOT = Path(__file__).resolve().parents[2]
load = partial(adafv_core.load, device="cpu", cache_bytes=0)


def run_python(code: str, variables: dict[str, str] | None = None) -> str:
    """What a program prints, started in a fresh interpreter."""
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1", **(variables or {})}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=surroundings, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("setting", "gpu", "name"),
    [("auto", True, ON_A_GPU), ("auto", False, POCKET), ("pocket", True, POCKET), ("a/b", False, "a/b")],
)
def test_the_model_it_starts_with(setting: str, gpu: bool, name: str) -> None:
    assert starting_model(setting, gpu) == name


def test_a_space_starts_from_auto_and_a_machine_from_pocket() -> None:
    on_a_space = {"SPACE_ID": "owner/name"}
    assert (read_settings([], on_a_space).model, read_settings([], on_a_space).fallback) == ("auto", True)
    assert (read_settings([], {}).model, read_settings([], {}).fallback) == ("pocket", False)
    assert read_settings([], {**on_a_space, "ADAFV_MODEL": "a/b"}).model == "a/b"
    assert read_settings(["--model", "c/d"], {**on_a_space, "ADAFV_MODEL": "a/b"}).model == "c/d"


def test_pocket_answers_where_the_real_model_cannot_be_loaded() -> None:
    started = load_first("auto", False, load, gpu=True)
    assert (started.name, started.engine.name) == (POCKET, POCKET)
    assert ON_A_GPU in started.notice and "pocket model answers" in started.notice
    assert load_first("pocket", True, load).notice == ""
    with pytest.raises(ModelError, match="no/such"):
        load_first("no/such", False, load)


@pytest.mark.parametrize("kind", [torch.OutOfMemoryError, OutOfMemoryError])
def test_pocket_answers_where_the_gpu_is_too_small(kind: type[Exception]) -> None:
    """What the failed load held is free before the pocket model comes."""
    held: list[weakref.ref[object]] = []

    def too_large(name: str) -> Engine:
        if name != POCKET:
            weights = torch.nn.Identity()
            held.append(weakref.ref(weights))
            raise kind("full")
        assert [one() for one in held] == [None]
        return load(name)

    started = load_first("auto", False, too_large, gpu=True)
    assert started.name == POCKET and f"{ON_A_GPU} could not be loaded" in started.notice
    with pytest.raises(OutOfMemoryError, match=r"full|does not fit"):
        load_first(ON_A_GPU, False, too_large)


def test_a_start_with_a_model_that_fails_late_falls_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose weights do not go to the device, and one whose chat template is broken."""
    shutil.copytree(ROOT / "assets" / "pocket", tmp_path / "large")
    shutil.copytree(ROOT / "assets" / "pocket", tmp_path / "broken")
    (tmp_path / "broken" / "chat_template.jinja").write_text("{% if %}")
    stock = PreTrainedModel.to

    def to(self: Any, *arguments: Any, **options: Any) -> Any:
        if "large" in str(self.config.name_or_path):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return stock(self, *arguments, **options)

    monkeypatch.setattr(PreTrainedModel, "to", to)
    for name, said in (("large", "out of memory"), ("broken", "chat template")):
        started = load_first(str(tmp_path / name), True, load)
        assert started.name == POCKET and said in started.notice
        with pytest.raises(ModelError, match=said):
            load_first(str(tmp_path / name), False, load)


def test_on_zero_gpu_nobody_loads_another_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that has the GPU would not know it."""
    import app.main as program

    monkeypatch.setattr(program, "on_zero_gpu", lambda: True)
    monkeypatch.setattr(program, "first_screen", lambda service, scenes: None)
    assert Settings().model_menu
    context = program.open_context(Settings())
    assert not context.settings.model_menu
    assert build_offer(replace(context, gpu=True)) is None
    assert "on ZeroGPU always 0" in next(row for row in settings_table().splitlines() if "ADAFV_MODEL_MENU" in row)


def test_the_real_spaces_package_changes_nothing_off_zero_gpu() -> None:
    code = (
        "import sys, app.main\n"
        "order = [name for name in sys.modules if name in ('spaces', 'torch', 'gradio', 'transformers')]\n"
        "assert order[0] == 'spaces' and len(order) == 4, order\n"
        "import spaces, inspect\n"
        "from app.serving import zero_gpu\n"
        "assert spaces.__file__ and zero_gpu.spaces is spaces\n"
        "assert zero_gpu.on_gpu is zero_gpu._work and inspect.isgeneratorfunction(zero_gpu.on_gpu)\n"
        "engine = object()\n"
        "assert not zero_gpu.on_zero_gpu() and zero_gpu.for_this_machine(engine) is engine\n"
        "print('same')"
    )
    assert run_python(code, {"SPACES_ZERO_GPU": ""}).strip() == "same"


def test_without_the_spaces_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module, executed once more where `import spaces` fails."""
    monkeypatch.setitem(sys.modules, "spaces", None)
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    spec = importlib.util.spec_from_file_location("zero_gpu_without_spaces", ROOT / "app" / "serving" / "zero_gpu.py")
    assert spec is not None and spec.loader is not None
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    assert again.spaces is None and again.on_gpu is again._work
    assert not again.on_zero_gpu()


def test_in_a_forked_process_with_pickled_values() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "helpers" / "forked_gpu.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    calls = ["encode_many", "score_many", "stream", "select_many", "stream", "stream", "score_many"]
    assert [call for call, _ in seen["calls"]] == calls
    assert seen["calls_of_the_page"] == ["score_many", "stream", "stream", "stream"]
    assert seen["text_of_the_page"] == seen["plain"]
    assert not seen["select_asked_for_a_gpu"] and seen["fastv_kept"] > 0
    assert all(0 < seconds <= 120 for _, seconds in seen["calls"])
    assert len(seen["texts"]) >= 2 and seen["texts"][-1] == seen["whole"] == seen["plain"]
    assert seen["same_selection"] and seen["devices"] == ["cpu"]
    assert 1 <= seen["stopped_after"] <= 2 and seen["forks"] == 1
    assert seen["said"]["no GPU"].startswith("ZeroGPU gave no GPU for this request (")
    assert "exceeded your quota" in seen["said"]["no GPU"]
    for what in ("no model", "no scheduler"):
        assert seen["said"][what] == "The request failed on ZeroGPU; the Space's log says why. Ask again."
    assert "the GPU function failed in encode" in done.stderr and "/schedule error: 500" in done.stderr
    assert "question" in seen["error"].lower() or "prompt" in seen["error"].lower()
    assert seen["forwards_here"] == 0 and seen["cached_here"] == 0 and seen["forwards_after_asking_here"] > 0


def test_the_duration_follows_the_request() -> None:
    short, long = (duration_s("m", "stream", (), {"max_new_tokens": count}) for count in (16, 512))
    assert short < long <= 120
    assert duration_s("m", "score_many", (), {}) < short
    assert duration_s("m", "answer_batch", ([("i", "q")] * 4,), {"max_new_tokens": 64}) > duration_s(
        "m", "answer_batch", ([("i", "q")],), {"max_new_tokens": 64}
    )
