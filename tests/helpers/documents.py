"""README.md and docs/*.md, read: their text, code blocks and command lines."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
DOCUMENTS = {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in FILES}
README = DOCUMENTS["README.md"]
EVERYTHING = "\n".join(DOCUMENTS.values())
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w+)\n(.*?)^```", EVERYTHING, re.MULTILINE | re.DOTALL)
SHELL = [text for kind, text in BLOCKS if kind == "bash"]
COMMANDS = [line for text in SHELL for line in text.splitlines()]
_INLINE = r"`((?:python -m (?:app|adafv_core)|adafv (?:ask|page|study|deploy|prune-dataset|serve-vllm-proxy) )[^`]*)`"
INLINE: list[str] = re.findall(_INLINE, EVERYTHING)


def example(mark: str) -> str:
    """The one Python block that contains this."""
    (found,) = [text for kind, text in BLOCKS if kind == "python" and mark in text]
    return found


def section(document: str, title: str) -> str:
    """What stands below the heading of that title, up to the next one of its level."""
    return DOCUMENTS[document].split(f"\n## {title}\n")[1].split("\n## ")[0]
