"""The test command itself: which Python and browser it uses, what it prints, and what it says if one is missing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import run

ROOT = Path(__file__).resolve().parents[2]


def test_it_stays_in_the_environment_it_was_started_in() -> None:
    assert sys.prefix != sys.base_prefix, "the tests run in a virtual environment"
    assert run.environment_python() == Path(sys.executable)
    assert run.usable(Path(sys.executable)) and not run.usable(ROOT / "no" / "python")


def test_an_environment_of_another_python_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where `.venv` is of another Python, `.venv-tests` is made and used."""
    other = tmp_path / ".venv" / "bin" / "python"
    other.parent.mkdir(parents=True)
    other.write_text("#!/bin/sh\necho 2 7\n")
    other.chmod(0o755)
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    assert run.environment_python() == tmp_path / ".venv-tests" / "bin" / "python"
    assert other.read_text() == "#!/bin/sh\necho 2 7\n"


def test_the_named_browser_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHROMIUM", sys.executable)
    assert run.find_browser() == sys.executable
    monkeypatch.setenv("CHROMIUM", str(tmp_path / "none"))
    assert run.find_browser() is None and run.install_browser() is None


@pytest.mark.parametrize("codes", [(0, 0), (1, 0), (0, 1), (-11, 0)])
def test_both_parts_are_run_and_a_failure_in_either_counts(
    monkeypatch: pytest.MonkeyPatch, codes: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[str]] = []
    left = iter((0, *codes))

    def done(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, next(left))

    monkeypatch.setenv("CHROMIUM", sys.executable)
    monkeypatch.setattr(sys, "argv", ["tests/run.py"])
    monkeypatch.setattr(run.subprocess, "run", done)
    assert (run.main() == 0) == (codes == (0, 0))
    last = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(
        r"installing \d+ s; pytest -m alone: \d+ s; pytest -m not alone and not nightly -n 2 .*: \d+ s", last
    )
    assert "install" in asked[0]
    assert [command[1:5] for command in asked[1:]] == [
        ["-m", "pytest", "-m", "alone"],
        ["-m", "pytest", "-m", "not alone and not nightly"],
    ]


def test_without_a_browser_it_says_what_to_install(tmp_path: Path) -> None:
    """No chromium, no apt-get: one message, before any test runs."""
    surroundings = {name: value for name, value in os.environ.items() if name != "CHROMIUM"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "run.py")],
        env={**surroundings, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 1
    assert "sudo apt-get update && sudo apt-get install -y chromium" in done.stderr and "CHROMIUM" in done.stderr
    assert done.stdout == ""
