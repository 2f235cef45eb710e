"""A new method is one new file and one line: done here on a copy of the library, in a fresh interpreter."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

EVERY_OTHER = '''"""Every other token first."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from adafv_core.methods.base import Choice, Method, best_of
from adafv_core.types import TokenScores


@dataclass(frozen=True, eq=False)
class EveryOther(Method):
    """Tokens at multiples of `stride` before all others, in order: no source, an example of a method."""

    name: ClassVar[str] = "every_other"
    stride: int = 2

    def choose(self, scores: TokenScores, budget: int) -> Choice:
        places = torch.arange(scores.size)
        kept, mixed = best_of((places % self.stride == 0).float(), budget)
        return Choice(kept, mixed)
'''

CHECK = """
from made_scores import made_scores, select
from adafv_core import METHODS, get_method
assert list(METHODS)[-1] == "every_other"
assert select("every_other", made_scores(), 4, stride=3).indices.tolist() == [0, 3, 6, 9]
"""


def copy_library(folder: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "adafv_core", folder / "adafv_core", ignore=ignored)


def add_method(folder: Path, name: str, text: str) -> None:
    """The new file in that copy, and its name at the end of `_FILES`, whatever stands there."""
    methods = folder / "adafv_core" / "methods"
    (methods / f"{name}.py").write_text(text, encoding="utf-8")
    list_method(folder, name)


def list_method(folder: Path, name: str) -> None:
    registry = folder / "adafv_core" / "methods" / "__init__.py"
    text = registry.read_text(encoding="utf-8")
    end = text.index("\n)\n", text.index("\n_FILES = (\n"))
    registry.write_text(f'{text[:end]}\n    "{name}",{text[end:]}', encoding="utf-8")


def run_shared_tests(folder: Path, name: str) -> None:
    """What `test_methods.py` asks of every method, of the one with that name in that copy."""
    shared = str(ROOT / "tests" / "test_methods.py")
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", str(folder), "-c", os.devnull]
    run(["-m", "pytest", *options, shared, "-k", name], folder)


def run(arguments: list[str], folder: Path) -> None:
    paths = os.pathsep.join((str(folder), str(ROOT / "tests")))
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_one_file_and_one_line_add_a_method(tmp_path: Path) -> None:
    copy_library(tmp_path)
    add_method(tmp_path, "every_other", EVERY_OTHER)
    run(["-c", CHECK], tmp_path)
    run_shared_tests(tmp_path, "every_other")


def test_a_method_file_must_hold_the_method_it_is_named_for(tmp_path: Path) -> None:
    copy_library(tmp_path)
    list_method(tmp_path, "base")
    check = "import adafv_core.methods"
    try:
        run(["-c", check], tmp_path)
    except AssertionError as failed:
        assert "methods/base.py must define one Method subclass" in str(failed)
    else:
        raise AssertionError("a file without its method was accepted")
