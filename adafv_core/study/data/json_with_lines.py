"""JSON files whose mistakes can be named by file and line."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adafv_core.errors import InputError

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()
Step = str | int


@dataclass(frozen=True)
class Document:
    """A parsed JSON file. name: of the file. text: as read. value: what it says."""

    name: str
    text: str
    value: Any

    def line(self, *path: Step) -> int:
        """The line (from 1) on which the value at a path of keys and indices begins; of its parent if it is missing."""
        return self.text.count("\n", 0, _offset(self.text, path)) + 1

    def wrong(self, message: str, *path: Step) -> InputError:
        """An error about the value at that path, with file and line in front."""
        return InputError(f"{self.name}, line {self.line(*path)}: {message}")


def read_json(file: Path) -> Document:
    """Read a JSON file. Raises InputError where it is missing, not UTF-8 or not JSON."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{file.name} cannot be read ({error.strerror}); expected a JSON file.") from None
    except UnicodeDecodeError as error:
        line = file.read_bytes().count(b"\n", 0, error.start) + 1
        raise InputError(f"{file.name}, line {line}: expected UTF-8 text.") from None
    try:
        return Document(file.name, text, json.loads(text))
    except json.JSONDecodeError as error:
        raise InputError(f"{file.name}, line {error.lineno}: not JSON ({error.msg}).") from None
    except RecursionError:
        raise InputError(f"{file.name}: nested too deeply to be an annotation file.") from None


def _offset(text: str, path: tuple[Step, ...]) -> int:
    place = _skip(text, 0)
    for step in path:
        inner = _in_object(text, place, step) if isinstance(step, str) else _in_list(text, place, step)
        if inner is None:
            break
        place = inner
    return place


def _in_object(text: str, place: int, key: str) -> int | None:
    """Where the value of a key begins, in the object that begins at `place`."""
    if text[place] != "{":
        return None
    place = _skip(text, place + 1)
    while text[place] == '"':
        name, end = _DECODER.raw_decode(text, place)
        place = _skip(text, _skip(text, end) + 1)
        if name == key:
            return place
        place = _skip(text, _DECODER.raw_decode(text, place)[1])
        if text[place] == ",":
            place = _skip(text, place + 1)
    return None


def _in_list(text: str, place: int, index: int) -> int | None:
    """Where entry `index` begins, in the list that begins at `place`."""
    if text[place] != "[":
        return None
    place = _skip(text, place + 1)
    for _ in range(index):
        if text[place] == "]":
            return None
        place = _skip(text, _DECODER.raw_decode(text, place)[1])
        if text[place] != ",":
            return None
        place = _skip(text, place + 1)
    return None if text[place] == "]" else place


def _skip(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return place if match is None else match.end()
