"""pyproject.toml names every package that the sources import, and requirements.txt pins it."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NAMES = {"PIL": "pillow", "yaml": "pyyaml", "upath": "universal_pathlib", "lmms_eval": "lmms-eval"}
EXTRAS = ["study", "ray", "vllm", "eval"]
"""What the library imports only where it is asked for; `ray`, `vllm` and `eval` pin it themselves."""
WHERE_IT_IS_INSTALLED = {"spaces"}
"""ZeroGPU installs it on a Space; elsewhere app/serving/zero_gpu.py does without."""


def imported(folder: str) -> set[str]:
    """The packages that the files of a folder import, by the names that pip knows them by."""
    found: set[str] = set()
    for file in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    own = {"adafv_core", "app", *sys.stdlib_module_names}
    return {NAMES.get(name, name) for name in found - own - WHERE_IT_IS_INSTALLED}


def names(lines: list[str]) -> set[str]:
    """The packages of requirement lines."""
    return {re.split(r"[\[<>=!~ ]", line)[0].lower() for line in lines if line and line[0] not in "#-"}


@pytest.mark.parametrize(("folder", "extras"), [("adafv_core", EXTRAS), ("app", ["app"])])
def test_what_is_imported_is_declared(folder: str, extras: list[str]) -> None:
    declared = names(PROJECT["dependencies"])
    for extra in extras:
        declared |= names(PROJECT["optional-dependencies"][extra])
    assert imported(folder) <= declared


def test_what_is_imported_is_pinned() -> None:
    """What an extra of the library alone needs is pinned with the tests: the page does without it."""
    pinned = names((ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines())
    extras = {extra: names(PROJECT["optional-dependencies"][extra]) for extra in EXTRAS}
    assert (imported("adafv_core") - set().union(*extras.values())) | imported("app") <= pinned
    for extra in ("ray", "vllm", "eval"):
        assert all("==" in line for line in PROJECT["optional-dependencies"][extra])
    with_tests = (
        pinned
        | extras["ray"]
        | extras["vllm"]
        | extras["eval"]
        | names((ROOT / "requirements-test.txt").read_text(encoding="utf-8").splitlines())
    )
    assert imported("adafv_core") <= with_tests
