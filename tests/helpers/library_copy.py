"""A copy of the library to add a method or a family to, and the shared tests run on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


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
    shared = str(ROOT / "tests" / "methods" / "test_methods.py")
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", str(folder), "-c", os.devnull]
    run(["-m", "pytest", *options, shared, "-k", name], folder)


def run(arguments: list[str], folder: Path) -> None:
    paths = os.pathsep.join((str(folder), str(ROOT / "tests")))
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
