"""The README, read: its text, its code blocks, and its command lines."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
SHELL = [text for kind, text in BLOCKS if kind == "bash"]
COMMANDS = [line for text in SHELL for line in text.splitlines()]
INLINE: list[str] = re.findall(r"`(python -m (?:app|adafv_core)[^`]*)`", README)
