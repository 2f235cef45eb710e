"""The house rules that a machine can check: style, types, sizes, and nothing of one machine in the files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LARGEST_BYTES = 9 * 1024**2
BINARY = {".png", ".webp", ".jpg", ".safetensors", ".svg", ".gz"}
BRITISH = re.compile(
    r"colour|licence|behaviour|favour|neighbour|honour|flavour|\bcentre|\bgrey\b|\bmaths\b|artefact|judgement|defence"
    r"|whilst|catalogue|analys(e|ed|ing)\b|labell(ed|ing)|modell(ed|ing)|travell"
    r"|(optim|normal|synchron|token|initial|summar|recogn|organ|random|special|general|minim|maxim|quant|serial|visual"
    r"|categor)is(e|ed|es|er|ing|ation)\b",
    re.IGNORECASE,
)
QUOTED = {"adafv_core/pocket/world/vocabulary.py", "tests/pocket/test_world.py", "assets/pocket/tokenizer.json"}
"""Files in which British spelling is data: the pocket tokenizer reads "colour" as "color"."""
METAPHORS = re.compile(r"(^|[/_.-])(garage|desk|visits?|site|wish|wishes|told|said|keepsakes|parts|faults)([/_.-]|$)")


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


def text_lines() -> list[tuple[str, int, str]]:
    """(path, number, line) of every text file, this one left out."""
    found = []
    for path in tracked():
        if path.suffix not in BINARY and path != Path(__file__):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            found += [(path.relative_to(ROOT).as_posix(), number, line) for number, line in enumerate(lines, 1)]
    return found


def test_no_file_is_too_large() -> None:
    sizes = {str(path.relative_to(ROOT)): path.stat().st_size for path in tracked()}
    assert not {path: size for path, size in sizes.items() if size > LARGEST_BYTES}


def test_no_path_of_one_machine_in_the_files() -> None:
    homes = "|".join(("work", "farm", "root", "home/(?!user)[a-z]+", "Users"))
    pattern = re.compile(rf"(?<![A-Za-z0-9_.])/({homes})/")
    found = [f"{path}:{number}: {line.strip()[:120]}" for path, number, line in text_lines() if pattern.search(line)]
    assert not found, "\n".join(found)


def test_every_asset_has_a_license() -> None:
    """assets/LICENSES.md names each top-level entry of assets/."""
    text = (ROOT / "assets" / "LICENSES.md").read_text(encoding="utf-8")
    assets = [path.relative_to(ROOT).parts for path in tracked() if ROOT / "assets" in path.parents]
    missing = sorted({parts[1] for parts in assets if f"`{parts[1]}" not in text and parts[1] != "LICENSES.md"})
    assert not missing, f"assets/LICENSES.md says nothing about {', '.join(missing)}"


def test_american_spelling() -> None:
    found = [
        f"{path}:{number}: {line.strip()[:120]}"
        for path, number, line in text_lines()
        if BRITISH.search(line) and path not in QUOTED
    ]
    assert not found, "\n".join(found)


def test_files_are_named_for_what_they_hold() -> None:
    """No metaphors; `bench` is the subcommand of that name alone."""
    paths = [path.relative_to(ROOT).as_posix() for path in tracked()]
    bench = [one for one in paths if "bench" in re.split(r"[/_.-]", one) and not re.match(r"\w+/bench/", one)]
    found = [one for one in paths if METAPHORS.search(one)] + bench
    assert not found, ", ".join(found)


@pytest.mark.parametrize("line", ["# Grey", "licence", "normalised", "the colours", "tokenisation", "analyse it"])
def test_british_spelling_is_noticed(line: str) -> None:
    assert BRITISH.search(line)


@pytest.mark.parametrize("line", ["promise", "precise", "revision", "analysis", "license", "centered", "exercises"])
def test_words_that_are_spelled_so_everywhere_are_not(line: str) -> None:
    assert not BRITISH.search(line)
