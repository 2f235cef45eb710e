"""The page's scripts and style sheet: formatted by Prettier and checked by ESLint, in exactly the pinned versions."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from helpers.npm_packages import LINT, npm_program, run

ROOT = Path(__file__).resolve().parents[2]
STATIC = ROOT / "app" / "static"


@pytest.fixture(scope="module")
def npm() -> str:
    return npm_program()


@pytest.mark.parametrize("check", ["prettier", "eslint"])
def test_the_scripts_pass(npm: str, check: str) -> None:
    """`npm run fix` in tests/browser/lint mends most of what is found."""
    options = ("--", "--check") if check == "prettier" else ()
    done = run(npm, "run", "--silent", check, *options)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_line_is_longer_than_120_characters() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in (*STATIC.rglob("*.js"), *STATIC.rglob("*.css"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > 120
    ]
    assert not found


def test_versions_are_exact() -> None:
    wanted = json.loads((LINT / "package.json").read_text(encoding="utf-8"))["devDependencies"]
    assert {"prettier", "eslint"} <= set(wanted)
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values()), wanted


def test_every_module_is_reached_from_the_entry() -> None:
    """Nothing is preloaded that the page does not run, and every import names a file."""
    from app.gradio_ext.static_files import ENTRY, scripts

    reached: set[str] = set()
    waiting = [ENTRY]
    while waiting:
        name = waiting.pop()
        if name in reached:
            continue
        reached.add(name)
        path = STATIC / name
        for imported in re.findall(r'^(?:import|export) [^"]*"(\.[^"]+)";', path.read_text(encoding="utf-8"), re.M):
            waiting.append((path.parent / imported).resolve().relative_to(STATIC).as_posix())
    assert reached == set(scripts())
