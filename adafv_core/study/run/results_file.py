"""The study's file: JSON lines, one fact a line, appended as it becomes known, so that a stopped study goes on.

    {"kind": "header", …}                                                       data set, model, settings, versions
    {"kind": "session", "machine": {…}}                                         a start, or going on after a stop
    {"kind": "question", "q": 0, "key", "image", "family", "question", "answers"}
    {"kind": "measure", "q": 0, "auc_t2i": 0.98, …}                             figures 2 to 4
    {"kind": "answer", "row": "adafv", "keep": 0.1, "q": 0, "text", "score", "kept"}
    {"kind": "left out", "row", "keep", "why"}                                  a budget that a method cannot serve
    {"kind": "time", "answers": 64, "seconds": 0.4}

A file whose name ends in .gz is read the same way.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adafv_core.errors import InputError

FORMAT = 1
_FIRST = '{"kind":"header"'
Key = tuple[str, float | None]
"""A row's label and its keep ratio (None: the same at any)."""


@dataclass(frozen=True)
class Given:
    """One answer. score: 0 to 1. kept: distinct visual tokens. k_text, k_visual: how far the two heads reach."""

    text: str
    score: float
    kept: int
    k_text: int = 0
    k_visual: int = 0


@dataclass
class Records:
    """What a file holds. questions: by number q. answers: by row and ratio, then by q. measures: by q."""

    header: dict[str, Any] = field(default_factory=dict)
    machines: list[dict[str, Any]] = field(default_factory=list)
    questions: dict[int, dict[str, Any]] = field(default_factory=dict)
    measures: dict[int, dict[str, Any]] = field(default_factory=dict)
    answers: dict[Key, dict[int, Given]] = field(default_factory=dict)
    left_out: dict[Key, str] = field(default_factory=dict)
    n_timed: int = 0
    seconds: float = 0.0

    def take(self, line: dict[str, Any]) -> None:
        """Add one line."""
        kind = line["kind"]
        if kind == "answer":
            given = Given(line["text"], line["score"], line["kept"], line.get("k_text", 0), line.get("k_visual", 0))
            self.answers.setdefault((line["row"], line["keep"]), {})[line["q"]] = given
        elif kind == "question":
            self.questions[line["q"]] = line
        elif kind == "measure":
            self.measures[line["q"]] = line
        elif kind == "left out":
            self.left_out[line["row"], line["keep"]] = line["why"]
        elif kind == "time":
            self.n_timed += line["answers"]
            self.seconds += line["seconds"]
        elif kind == "session":
            if line["machine"] not in self.machines:
                self.machines.append(line["machine"])
        elif kind == "header":
            self.header = line
        else:
            raise KeyError(kind)


def read_records(file: Path) -> Records:
    """Read a study's file. Raises InputError, with the line, where it is not one.

    A last line that was cut off by an interruption is left out.
    """
    records = Records()
    for number, text, complete in _lines(file):
        try:
            records.take(json.loads(text))
        except (ValueError, KeyError, TypeError) as error:
            if not complete and (number > 1 or text.startswith(_FIRST[: len(text)])):
                break
            raise InputError(f"{file.name}, line {number}: not a line of a study's file ({error!r}).") from None
        if number == 1 and records.header.get("format") != FORMAT:
            raise InputError(
                f"{file.name}, line 1: expected the header of a study's file, format {FORMAT}; start a new file."
            )
    return records


def _lines(file: Path) -> Iterator[tuple[int, str, bool]]:
    content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    with io.StringIO(content.decode("utf-8", errors="replace")) as lines:
        for number, text in enumerate(lines, 1):
            if text.strip():
                yield number, text, text.endswith("\n")


class Writer:
    """Appends lines to a study's file and to the records in memory; each `write` ends on disk."""

    def __init__(self, file: Path, records: Records) -> None:
        self.file, self.records = file, records
        file.parent.mkdir(parents=True, exist_ok=True)
        _cut_broken_line(file)

    def write(self, *lines: dict[str, Any]) -> None:
        """Append lines, in order."""
        text = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
        with self.file.open("a", encoding="utf-8") as out:
            out.write(text)
        for line in lines:
            self.records.take(line)


def _cut_broken_line(file: Path) -> None:
    if not file.exists():
        return
    with file.open("rb+") as opened:
        content = opened.read()
        end = content.rfind(b"\n") + 1
        if end < len(content):
            opened.truncate(end)


def pack(file: Path, to: Path) -> None:
    """Write a gzipped copy; the same content gives the same bytes."""
    to.parent.mkdir(parents=True, exist_ok=True)
    with to.open("wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
        packed.write(file.read_bytes())
