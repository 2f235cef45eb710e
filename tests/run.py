"""Installs what the tests need and runs all of them: `python3.11 tests/run.py`. Arguments after it go to pytest.

They run in two parts: tests that measure time have the machine to themselves; the others are distributed over two
processes, file by file, the files that take longest first. Tests marked `nightly`, which need Ray or vLLM, are left
out. With arguments there is one part, in one process. How long each part took is printed last.

Uses the virtual environment it is started in, else `.venv` beside the README (created if missing; `.venv-tests` if
that one belongs to another Python). The browser tests drive chromium: `$CHROMIUM`, else the one on the path, else
Debian's, which is installed if that is permitted.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WANTED = (3, 11)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PARTS = (
    ["-m", "alone"],
    ["-m", "not alone and not nightly", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"],
)


def main() -> int:
    """The exit status of pytest, or 1 after a sentence on what is missing."""
    if sys.version_info < WANTED:
        return complain(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}.")
    began = time.monotonic()
    python = environment_python()
    install = [str(python), "-m", "pip", "install", "-q", "--no-input", "--disable-pip-version-check"]
    if subprocess.run([*install, "-r", str(ROOT / "requirements-test.txt")], stdin=subprocess.DEVNULL).returncode:
        return complain("pip could not install requirements-test.txt; its message is above.")
    browser = find_browser() or install_browser()
    if browser is None:
        return complain(
            "The browser tests need chromium, which cannot be installed from here. On Debian or Ubuntu run\n"
            "    sudo apt-get update && sudo apt-get install -y chromium\n"
            "elsewhere install Chromium or Chrome and set CHROMIUM to the path of its program. Then run this again."
        )
    environment = {**os.environ, "CHROMIUM": browser}
    parts = [sys.argv[1:]] if sys.argv[1:] else PARTS
    statuses, times = [], [f"installing {time.monotonic() - began:.0f} s"]
    for part in parts:
        part_began = time.monotonic()
        done = subprocess.run([str(python), "-m", "pytest", *part], cwd=ROOT, env=environment)
        statuses.append(abs(done.returncode))
        times.append(f"pytest {' '.join(part)}: {time.monotonic() - part_began:.0f} s")
    print("; ".join(times), flush=True)
    return max(statuses)


def environment_python() -> Path:
    """The interpreter of a virtual environment into which the tests may install packages."""
    if sys.prefix != sys.base_prefix:
        return Path(sys.executable)
    for folder in (ROOT / ".venv", ROOT / ".venv-tests"):
        if not folder.exists():
            make_environment(folder)
        python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        if usable(python):
            return python
    sys.exit(f"{ROOT / '.venv-tests'} is not usable with this Python: delete it and run this again.")


def make_environment(folder: Path) -> None:
    """Create a virtual environment with pip, even without ensurepip (Debian without python3-venv)."""
    made = subprocess.run([sys.executable, "-m", "venv", str(folder)], capture_output=True)
    if made.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        pip = [sys.executable, "-m", "pip", "--python", str(folder), "install", "-q", "--no-input", "pip"]
        subprocess.run(pip, check=True, stdin=subprocess.DEVNULL)


def usable(python: Path) -> bool:
    """Whether that interpreter starts, has this version, and has pip."""
    check = "import sys, pip; print(*sys.version_info[:2])"
    try:
        answer = subprocess.run([str(python), "-c", check], capture_output=True, text=True)
    except OSError:
        return False
    return answer.stdout.split() == [str(part) for part in sys.version_info[:2]]


def find_browser() -> str | None:
    """The path of chromium: `$CHROMIUM`, else the first of the usual names on the path; None if there is none."""
    named = os.environ.get("CHROMIUM")
    if named:
        return shutil.which(named)
    return next((found for found in map(shutil.which, BROWSERS) if found), None)


def install_browser() -> str | None:
    """Install Debian's chromium, as root or by a sudo without password; None if neither is possible."""
    if os.environ.get("CHROMIUM") or not shutil.which("apt-get"):
        return None
    prefix: list[str] = []
    if os.geteuid() != 0:
        if not shutil.which("sudo") or subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode:
            return None
        prefix = ["sudo", "-n", "env", "DEBIAN_FRONTEND=noninteractive"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for step in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
        subprocess.run(
            [*prefix, "apt-get", "-qq", *step], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
    return find_browser()


def complain(text: str) -> int:
    """Print what is missing; returns the exit status."""
    print(text, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
