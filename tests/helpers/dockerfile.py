"""Reads a Dockerfile into its instructions, and the folder Docker would send with it."""

from __future__ import annotations

import fnmatch
import json
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Instruction:
    """One instruction. name: in capitals. text: what follows it, on one line, flags left out."""

    name: str
    text: str
    flags: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        """The words of it; of the JSON form, its strings."""
        return json.loads(self.text) if self.text.startswith("[") else self.text.split()


def read_dockerfile(path: Path) -> list[Instruction]:
    """The instructions of a Dockerfile of one stage."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not re.match(r"\s*(#|$)", line)]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found = []
    for line in joined.splitlines():
        name, text = line.split(maxsplit=1)
        flags = []
        while (flag := re.match(r"(--[\w-]+=\S+)\s+", text)) is not None:
            flags.append(flag[1])
            text = text[flag.end() :]
        found.append(Instruction(name.upper(), re.sub(r"\s+", " ", text), tuple(flags)))
    return found


def filled_in(text: str, values: dict[str, str]) -> str:
    """`$NAME` and `${NAME}` replaced by their values."""
    return re.sub(r"\$\{?(\w+)\}?", lambda found: values.get(found[1], ""), text)


def sent_files(root: Path, ignore: Path) -> list[Path]:
    """The files that Docker gets: those that the last matching pattern of .dockerignore does not leave out."""
    patterns = [line for line in ignore.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    files = []
    for top in sorted(root.iterdir()):
        if _ignored(top.relative_to(root), patterns) and not any(line.startswith(f"!{top.name}") for line in patterns):
            continue
        files += [path for path in (sorted(top.rglob("*")) if top.is_dir() else [top]) if path.is_file()]
    return [path for path in files if not _ignored(path.relative_to(root), patterns)]


def _ignored(path: Path, patterns: list[str]) -> bool:
    names = [path.as_posix(), *(parent.as_posix() for parent in path.parents if parent.name)]
    ignored = False
    for pattern in patterns:
        kept, bare = pattern[0] == "!", pattern.lstrip("!").rstrip("/")
        anywhere = bare.removeprefix("**/")
        hit = any(
            fnmatch.fnmatch(name.rsplit("/", 1)[-1], anywhere) if bare.startswith("**/") else _same_depth(name, bare)
            for name in names
        )
        if hit:
            ignored = not kept
    return ignored


def _same_depth(name: str, pattern: str) -> bool:
    return name.count("/") == pattern.count("/") and fnmatch.fnmatch(name, pattern)
