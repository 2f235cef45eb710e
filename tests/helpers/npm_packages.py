"""The pinned npm packages of tests/browser/lint: Prettier, ESLint and axe-core."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from filelock import FileLock

LINT = Path(__file__).resolve().parents[1] / "browser" / "lint"
NEEDS_NPM = "npm is not on the path, so Prettier, ESLint and axe-core did not run: install Node.js 20 or later"


def npm_program() -> str:
    """The program npm, with the pinned packages installed in tests/browser/lint/node_modules (which git ignores)."""
    program = shutil.which("npm")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail(NEEDS_NPM)
        pytest.skip(NEEDS_NPM)
    locked = (LINT / "package-lock.json").read_bytes()
    installed = LINT / "node_modules" / ".adafv-lock.json"
    with FileLock(str(Path(tempfile.gettempdir()) / "adafv-npm.lock")):
        if not installed.is_file() or installed.read_bytes() != locked:
            done = run(program, "ci", "--no-audit", "--no-fund", "--ignore-scripts")
            assert done.returncode == 0, (
                f"npm could not install what package-lock.json names:\n{done.stdout}{done.stderr}"
            )
            installed.write_bytes(locked)
    return program


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """A command in that folder."""
    return subprocess.run(command, cwd=LINT, capture_output=True, text=True, timeout=600)
