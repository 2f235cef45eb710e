"""The house rules that a machine can check: style, types, sizes, and nothing of one machine in the files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LARGEST_BYTES = 9 * 1024**2


def tracked() -> list[Path]:
    """The files of the repository; of the folder where there is no git."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True
    )
    if listed.returncode == 0:
        names = listed.stdout.decode().split("\0")
        return [ROOT / name for name in names if name and (ROOT / name).is_file()]
    hidden = {".git", ".venv", ".venv-tests", "__pycache__"}
    return [path for path in ROOT.rglob("*") if path.is_file() and not hidden & set(path.relative_to(ROOT).parts)]


@pytest.mark.parametrize("command", [("ruff", "check", "--quiet", "."), ("mypy",)], ids=["ruff", "mypy --strict"])
def test_style_and_types(command: tuple[str, ...]) -> None:
    """`mypy` reads from pyproject.toml that adafv_core is checked strictly."""
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy_is_strict_on_the_library() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = text.split("[tool.mypy]")[1].split("[")[0]
    assert "strict = true" in section and "files" in section


def test_no_file_is_too_large() -> None:
    sizes = {str(path.relative_to(ROOT)): path.stat().st_size for path in tracked()}
    assert not {path: size for path, size in sizes.items() if size > LARGEST_BYTES}


def test_no_path_of_one_machine_in_the_files() -> None:
    homes = "|".join(("work", "farm", "root", "home/(?!user)[a-z]+", "Users"))
    pattern = re.compile(rf"(?<![A-Za-z0-9_.])/({homes})/")
    found = []
    for path in tracked():
        if path.suffix in {".png", ".webp", ".jpg", ".safetensors", ".svg"} or path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}")
    assert not found, "\n".join(found)


def test_every_asset_has_a_licence() -> None:
    """assets/LICENSES.md names each top-level entry of assets/."""
    text = (ROOT / "assets" / "LICENSES.md").read_text(encoding="utf-8")
    assets = [path.relative_to(ROOT).parts for path in tracked() if ROOT / "assets" in path.parents]
    missing = sorted({parts[1] for parts in assets if f"`{parts[1]}" not in text and parts[1] != "LICENSES.md"})
    assert not missing, f"assets/LICENSES.md says nothing about {', '.join(missing)}"
