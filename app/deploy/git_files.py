"""Which files are published: the tracked ones; outside a checkout, all except hidden files and junk."""

from __future__ import annotations

import fnmatch
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

_MARK = "README.md"
_JUNK = (
    *(".*", "__pycache__", "*.py[co]", "*.egg-info"),
    *("*.env", "*.pem", "*.key"),
    *("*.log", "*.tmp", "*.swp", "*.bak", "*.orig", "*~", "Thumbs.db", "desktop.ini"),
)


class GitError(Exception):
    """A checkout that git cannot read; the message says why."""


def published_files(root: Path, folders: Sequence[str]) -> tuple[list[str], list[str]]:
    """Paths below `root` in these folders, sorted: (files to publish, untracked files that are not ignored).

    A tracked file is published as it is on disk, committed or not. Outside a checkout nothing tells new files from
    others, so hidden files, caches, keys and editor leftovers are skipped by name. Raises GitError.
    """
    tracked = _git_ls_files(root, "--cached", (_MARK, *folders))
    # A copy of the project inside another repository is not a checkout: there git does not track the README.
    if tracked is None or _MARK not in tracked:
        return _all_but_junk(root, folders), []
    untracked = _git_ls_files(root, "--others", ("--exclude-standard", "--", *folders)) or []
    present = [path for path in tracked if path != _MARK and (root / path).is_file()]
    return sorted(present), sorted(untracked)


def _git_ls_files(root: Path, kind: str, more: Sequence[str]) -> list[str] | None:
    """The output of `git ls-files`, whoever owns the checkout; None outside a checkout."""
    # Variables such as GIT_DIR would point git at another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", kind, *more]
    try:
        done = subprocess.run(command, cwd=root, env=environment, text=True, capture_output=True)
        if done.returncode == 0:
            return [path for path in done.stdout.split("\0") if path]
        reason = done.stderr.strip().partition("\n")[0]
    except OSError as error:
        reason = f"git cannot be started ({error.strerror})"
    if (root / ".git").exists():
        raise GitError(f"Only git knows which files of this checkout are to be published, and it fails: {reason}")
    return None


def _all_but_junk(root: Path, folders: Sequence[str]) -> list[str]:
    found = []
    for folder in folders:
        for path in (root / folder).rglob("*"):
            below = path.relative_to(root)
            if path.is_file() and not any(fnmatch.fnmatch(part, junk) for part in below.parts for junk in _JUNK):
                found.append(below.as_posix())
    return sorted(found)
