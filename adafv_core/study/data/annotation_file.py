"""Reads annotation files as JSON; an unusable entry is left out and reported, so that the rest can be used."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adafv_core.errors import InputError
from adafv_core.study.data.base import Omission

Step = str | int
"""A key of an object or an index of a list."""

_PLAIN_KEY = re.compile(r"[A-Za-z_]\w*")


class EntryError(InputError):
    """One entry of an annotation file cannot be used. omission: its place in the file and the reason."""

    def __init__(self, omission: Omission) -> None:
        super().__init__(f"{omission.where}: {omission.why}")
        self.omission = omission


@dataclass(frozen=True)
class AnnotationFile:
    """A parsed JSON file. name: file name without folders. value: the top-level value."""

    name: str
    value: Any

    def error(self, why: str, *path: Step) -> EntryError:
        """An error about the value at a path of keys and indices: "notes.json, annotations[3].bbox: …"."""
        where = f"{self.name}, {json_path(*path)}" if path else self.name
        return EntryError(Omission(where, why))


class Omissions:
    """Collects the entries that are left out. strict: raise at the first one instead."""

    def __init__(self, strict: bool = False) -> None:
        self.strict = strict
        self.found: list[Omission] = []

    @contextmanager
    def leaving_out(self) -> Iterator[None]:
        """Run a block that reads one entry; an EntryError in it is recorded and ends only this block."""
        try:
            yield
        except EntryError as error:
            if self.strict:
                raise
            self.found.append(error.omission)


def json_path(*path: Step) -> str:
    """`annotations[3].bbox` for ("annotations", 3, "bbox")."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN_KEY.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step, ensure_ascii=False)}]"
    return text


def read_annotation_file(file: Path) -> AnnotationFile:
    """Read a JSON file (UTF-8, with or without byte-order mark). Raises InputError if it is missing or not JSON."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{file.name} cannot be read ({error.strerror}); expected a JSON file.") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{file.name}, byte {error.start}: expected UTF-8 text.") from None
    try:
        return AnnotationFile(file.name, json.loads(text))
    except json.JSONDecodeError as error:
        raise InputError(f"{file.name}, line {error.lineno}: not JSON ({error.msg}).") from None
    except RecursionError:
        raise InputError(f"{file.name}: nested too deeply to be an annotation file.") from None
    except ValueError as error:  # an integer of thousands of digits
        raise InputError(f"{file.name}: not JSON that can be read ({error}).") from None


def is_id(value: object) -> bool:
    """Whether a value can be an id: text or a whole number."""
    return isinstance(value, int | str) and not isinstance(value, bool)
