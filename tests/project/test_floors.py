"""The floor plan: `pyproject.toml` declares it and import-linter holds every import against it."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINT_IMPORTS = str(Path(sys.executable).with_name("lint-imports"))
FACADE = "adafv_core"
OFFLINE = {"requests", "httpx", "urllib.request", "http.client", "socket", "huggingface_hub", "aiohttp"}
ON_THE_NETWORK = {f"adafv_core.loading.{name}" for name in ("load", "download", "errors")}
"""And the front before a vLLM server, which calls that server on loopback."""
ON_THE_NETWORK |= {"adafv_core.backends.vllm_proxy"}
PURE = ("scoring.py", "mixing.py", "checks.py", "cost.py", "greedy.py", "methods/*.py")


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_of(file): file for folder in ("adafv_core", "app") for file in (ROOT / folder).rglob("*.py")}


@cache
def imports_of(module: str) -> set[str]:
    """Every module imported anywhere in the file, as absolute names; project names as far as files go."""
    file = FILES[module]
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                source = ".".join([*above, *([source] if source else [])])
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                found.add(inner if inner in FILES else source)
    return found


def own(module: str) -> set[str]:
    return {name for name in imports_of(module) if name in FILES and name != module}


@pytest.mark.parametrize("module", sorted(name for name in FILES if name.startswith("adafv_core.methods.")))
def test_a_method_leans_on_no_other_method(module: str) -> None:
    siblings = {name for name in own(module) if name.startswith("adafv_core.methods")}
    assert siblings <= {"adafv_core.methods.base", "adafv_core.methods.inside"}


def test_imports_go_down() -> None:
    """The layers contracts of `pyproject.toml`."""
    done = subprocess.run([LINT_IMPORTS], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_imports_in_a_circle() -> None:
    left = {module: own(module) - {FACADE} for module in FILES if module != FACADE}
    while left:
        free = {module for module, needs in left.items() if not needs & left.keys()}
        assert free, f"these import each other in a circle: {sorted(left)}"
        left = {module: needs for module, needs in left.items() if module not in free}


@pytest.mark.parametrize("module", sorted(name for name in FILES if name.startswith("adafv_core")))
def test_the_library_knows_no_page_and_no_network(module: str) -> None:
    found = imports_of(module)
    roots = {name.split(".")[0] for name in found}
    assert not roots & {"gradio", "plotly", "app", "tests"}
    if module not in ON_THE_NETWORK:
        assert not {name for name in found for banned in OFFLINE if f"{name}.".startswith(f"{banned}.")}


def test_scores_become_masks_without_leaving_the_device_for_python() -> None:
    files = [file for pattern in PURE for file in (ROOT / "adafv_core").glob(pattern)]
    assert len(files) > 15
    for file in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        # By its definition, what ranks in float64 and walks over two rankings runs on the CPU.
        on_cpu = {"largest_k_visual", "rank", "_path_row"} if file.name == "mixing.py" else set()
        tree.body = [node for node in tree.body if getattr(node, "name", "") not in on_cpu]
        called = {
            node.func.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        }
        assert not called & {"item", "tolist", "numpy"}, file.name


def test_importing_the_library_costs_nothing() -> None:
    check = (
        "import sys, adafv_core; heavy = {'torch', 'transformers', 'numpy', 'PIL'} & set(sys.modules); "
        "assert not heavy, heavy; "
        "assert adafv_core.mix.__module__ == 'adafv_core.mixing'; assert 'transformers' not in sys.modules; "
        "assert set(adafv_core.__all__) <= set(dir(adafv_core))"
    )
    command = [sys.executable, "-c", check]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there() -> None:
    import adafv_core

    for name in adafv_core.__all__:
        assert getattr(adafv_core, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'prunes'"):
        adafv_core.prunes  # noqa: B018
