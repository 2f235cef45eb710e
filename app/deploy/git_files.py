"""Which files are published: those that git knows; where there is no git, all but hidden ones and junk."""

from __future__ import annotations

import fnmatch
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

_MARK = "README.md"
_JUNK = (
    ".*",
    "__pycache__",
    "*.py[co]",
    "*.egg-info",
    "*.env",
    "*.pem",
    "*.key",
    "*.log",
    "*.tmp",
    "*.swp",
    "*.bak",
    "*.orig",
    "*~",
    "Thumbs.db",
    "desktop.ini",
)


class GitError(Exception):
    """A checkout that git does not read; the message says why."""


def published_files(root: Path, folders: Sequence[str]) -> tuple[list[str], list[str]]:
    """Paths below `root` that are in these folders: (those to publish, new ones that git was not told of), sorted.

    A tracked file counts as it is now, edited or not. Where the folder is no checkout nothing can be known of new
    files: names that start with a dot, caches, keys and editors' leftovers stay behind. Raises GitError.
    """
    tracked = _listed(root, "--cached", (_MARK, *folders))
    if tracked is None or _MARK not in tracked:
        return _all_but_junk(root, folders), []
    new = _listed(root, "--others", ("--exclude-standard", "--", *folders)) or []
    there = [path for path in tracked if path != _MARK and (root / path).is_file()]
    return sorted(there), sorted(new)


def _listed(root: Path, kind: str, more: Sequence[str]) -> list[str] | None:
    """What `git ls-files` says, whoever owns the checkout; None where this is no checkout."""
    stock = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-c", "safe.directory=*", "ls-files", "-z", kind, *more],
            cwd=root,
            env=stock,
            text=True,
            capture_output=True,
        )
        trouble = done.stderr.strip().partition("\n")[0]
    except OSError as error:
        done, trouble = None, f"git cannot be started ({error.strerror})"
    if done is not None and done.returncode == 0:
        return [path for path in done.stdout.split("\0") if path]
    if (root / ".git").exists():
        raise GitError(f"Only git knows which files of this checkout are to be published, and it fails: {trouble}")
    return None


def _all_but_junk(root: Path, folders: Sequence[str]) -> list[str]:
    found = []
    for folder in folders:
        for path in (root / folder).rglob("*"):
            below = path.relative_to(root)
            if path.is_file() and not any(fnmatch.fnmatch(part, junk) for part in below.parts for junk in _JUNK):
                found.append(below.as_posix())
    return sorted(found)
