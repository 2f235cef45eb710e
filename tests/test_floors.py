"""The floor plan: every import is read, and none goes up.

A file imports only from lower floors, and within its own folder in one direction. Files that share a floor do
not import each other, save for the helpers of a floor (those in no row of FLOORS): they may be leaned on, in
one direction. Floor 4 has two steps (the study may ask the pocket world) and floor 5 three (settings, pictures,
handlers); a helper of the app stands as high as what it leans on. Methods lean on nothing of their folder but
base.py.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

FLOORS: dict[str, float] = {
    "adafv_core.errors": 0,
    "adafv_core.types": 0,
    "adafv_core.grid": 1,
    "adafv_core.scoring": 1,
    "adafv_core.mixing": 1,
    "adafv_core.cost": 1,
    "adafv_core.methods": 2,
    "adafv_core.models": 2,
    "adafv_core.engine": 3,
    "adafv_core.patching": 3,
    "adafv_core.runs": 3,
    "adafv_core.timing": 3,
    "adafv_core.study": 4.1,
    "adafv_core.pocket": 4,
    "app.settings": 5,
    "app.overlay": 5.1,
    "app.charts": 5.1,
    "app.handlers": 5.2,
    "app.tabs": 6,
    "app.main": 7,
}
HELPERS = {
    "adafv_core.checks": 0,
    "adafv_core.limits": 0,
    "adafv_core.ranking": 0,
    "adafv_core.wishes": 3,
    "app.__main__": 7,
}
APP_FLOOR = 5
FACADE = "adafv_core"
OFFLINE = {"requests", "httpx", "urllib.request", "http.client", "socket", "huggingface_hub", "aiohttp"}
PURE = ("scoring.py", "ranking.py", "mixing.py", "checks.py", "cost.py", "methods/*.py")


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_of(file): file for folder in ("adafv_core", "app") for file in (ROOT / folder).rglob("*.py")}


def named_floor(module: str) -> tuple[str, float] | None:
    """The row of FLOORS that a module belongs to."""
    for name, floor in FLOORS.items():
        if module == name or module.startswith(f"{name}."):
            return name, floor
    return None


def floor_of(module: str) -> float:
    named = named_floor(module)
    if named:
        return named[1]
    if module in HELPERS:
        return HELPERS[module]
    if module.startswith("app"):
        floor = max([APP_FLOOR, *(floor_of(target) for target in own(module) if target != FACADE)])
        assert floor < APP_FLOOR + 1, f"{module} leans on floor {floor}, but is neither a tab nor main.py"
        return floor
    raise AssertionError(f"{module} stands on no floor; give it one in tests/test_floors.py.")


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


@pytest.mark.parametrize("module", sorted(set(FILES) - {FACADE}))
def test_imports_go_down(module: str) -> None:
    floor = floor_of(module)
    for target in own(module):
        if target == FACADE:
            assert floor >= 4, f"{module} imports the whole library instead of a lower floor of it"
            continue
        below = floor_of(target)
        assert below <= floor, f"{module} (floor {floor}) imports {target} (floor {below})"
        if below < floor:
            continue
        mine, theirs = named_floor(module), named_floor(target)
        same_folder = mine is not None and mine == theirs
        assert same_folder or not (mine and theirs), f"{module} imports {target} on its own floor"


@pytest.mark.parametrize("module", sorted(name for name in FILES if name.startswith("adafv_core.methods.")))
def test_a_method_leans_on_no_other_method(module: str) -> None:
    siblings = {name for name in own(module) if name.startswith("adafv_core.methods")}
    assert siblings <= {"adafv_core.methods.base"}


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
    if module not in ("adafv_core.models.loading", "adafv_core.models.downloading"):
        assert not {name for name in found for banned in OFFLINE if f"{name}.".startswith(f"{banned}.")}


def test_scores_become_masks_without_leaving_the_device_for_python() -> None:
    files = [file for pattern in PURE for file in (ROOT / "adafv_core").glob(pattern)]
    assert len(files) > 15
    for file in files:
        called = {
            node.func.attr
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
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
