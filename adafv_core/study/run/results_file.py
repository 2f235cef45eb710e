"""The results file of a study: JSON lines, one fact per line, appended as soon as it is known.

    {"kind": "header", …}                                                       data set, model, settings, versions
    {"kind": "session", "machine": {…}, "data": {…}, "dropped": [7]}            a start, or a resumption
    {"kind": "question", "q": 0, "id", "objects", "key", "image", "family", "question", "answers"}
    {"kind": "measure", "q": 0, "auc_t2i": 0.98, …}                             figures 2 to 4
    {"kind": "answer", "row": "adafv", "keep": 0.1, "q": 0, "text", "score", "kept", "nll", "kl", "p", "flops"}
    {"kind": "answer", "row": "full", "keep": 1.0, "q": 0, …, "ids": [8, 2], "top": [[8, 3], [-0.1, -2.4]]}
    {"kind": "unanswered", "row", "keep", "q": 0, "why"}                        a budget that a method cannot serve here
    {"kind": "omitted", "where", "why"}                                         what this session could not use
    {"kind": "time", "answers": 64, "seconds": 0.4}

`q` numbers the questions of the file; `id` identifies a question, see `DataSet.question_id`. A later `question` line
with the same q replaces the earlier one; if its `objects` differ, measurements that used them no longer count. A file
whose name ends in .gz is read and appended to as gzip. Files of version 0.1 can be read as well: they have neither ids
nor `omitted`, and `left out` for a whole row, and their
answers have no `nll`, `kl`, `p`, `flops`.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from adafv_core.errors import InputError
from adafv_core.study.data.base import Omission
from adafv_core.study.measure.accuracy import score_answer
from adafv_core.study.measure.bounds import BOUNDS
from adafv_core.study.measure.fidelity import Reference

FORMAT = 1
_FIRST = '{"kind":"header"'
Key = tuple[str, float | None]
"""A row's label and its keep ratio (None: the same at any)."""


@dataclass(frozen=True)
class StoredAnswer:
    """One answer.

    score: 0 to 1. kept: distinct visual tokens. k_text, k_visual: sizes of the two heads. nll: negative
    log-likelihood, in nats, that this run gives the answer of `full`. kl: KL divergence of the first token's
    distribution from that of `full`, in nats, see `fidelity`. p: probability of the most likely first token. flops: of
    the prefill. These four are None in files of version 0.1.
    """

    text: str
    score: float
    kept: int
    k_text: int = 0
    k_visual: int = 0
    nll: float | None = None
    kl: float | None = None
    p: float | None = None
    flops: int | None = None


@dataclass
class Records:
    """The content of a results file.

    questions: by number q. references: by q, what `full` answered there. answers: by row and ratio, then by q;
    unanswered: likewise, with the reason. measures: by q. dropped: questions that the data set no longer has. omitted:
    what the last session could not use. damaged: lines of the file that could not be read.
    """

    header: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    machines: list[dict[str, Any]] = field(default_factory=list)
    questions: dict[int, dict[str, Any]] = field(default_factory=dict)
    measures: dict[int, dict[str, Any]] = field(default_factory=dict)
    references: dict[int, Reference] = field(default_factory=dict)
    answers: dict[Key, dict[int, StoredAnswer]] = field(default_factory=dict)
    unanswered: dict[Key, dict[int, str]] = field(default_factory=dict)
    left_out: dict[Key, str] = field(default_factory=dict)
    dropped: set[int] = field(default_factory=set)
    omitted: list[Omission] = field(default_factory=list)
    damaged: list[Omission] = field(default_factory=list)
    n_timed: int = 0
    seconds: float = 0.0

    def take(self, line: dict[str, Any]) -> None:
        """Add one line."""
        kind = line["kind"]
        if kind == "answer":
            if not (isinstance(line["text"], str) and isinstance(line["q"], int)):
                raise TypeError("an answer needs a text and the number of its question")
            given = StoredAnswer(
                line["text"],
                line["score"],
                line["kept"],
                line.get("k_text", 0),
                line.get("k_visual", 0),
                *(line.get(name) for name in ("nll", "kl", "p", "flops")),
            )
            if "ids" in line:
                self.references[line["q"]] = Reference.from_line(line)
            self.answers.setdefault((line["row"], line["keep"]), {})[line["q"]] = given
        elif kind == "question":
            known = self.questions.get(line["q"])
            if known is not None and objects_of(known) != objects_of(line):
                self.forget_objects(line["q"])
            self.questions[line["q"]] = line
        elif kind == "measure":
            self.measures[line["q"]] = line
        elif kind == "unanswered":
            self.unanswered.setdefault((line["row"], line["keep"]), {})[line["q"]] = line["why"]
        elif kind == "left out":
            self.left_out[line["row"], line["keep"]] = line["why"]
        elif kind == "omitted":
            self.omitted.append(Omission(line["where"], line["why"]))
        elif kind == "time":
            self.n_timed += line["answers"]
            self.seconds += line["seconds"]
        elif kind == "session":
            if line["machine"] not in self.machines:
                self.machines.append(line["machine"])
            self.data = line.get("data", self.data)
            self.dropped = set(line.get("dropped", ()))
            self.omitted = []
        elif kind == "header":
            self.header, self.data = line, line.get("data", {})
        else:
            raise KeyError(kind)

    def forget_objects(self, q: int) -> None:
        """Drop measurements (figures 2 to 4) and bounds of a question whose objects have changed."""
        self.measures.pop(q, None)
        for by_key in (self.answers, self.unanswered):
            for (row, _), by_question in by_key.items():
                if row in BOUNDS:
                    by_question.pop(q, None)

    def current_answers(self) -> dict[Key, dict[int, StoredAnswer]]:
        """Answers to the questions that are still in the data set."""
        return {
            key: {q: one for q, one in given.items() if q not in self.dropped} for key, given in self.answers.items()
        }

    def judge(self) -> None:
        """Score all answers by the rules of this version, whichever version wrote them."""
        for given in self.answers.values():
            for q, one in given.items():
                if q in self.questions:
                    score = round(score_answer(one.text, self.questions[q]["answers"]), 4)
                    if score != one.score:
                        given[q] = replace(one, score=score)


def objects_of(question: dict[str, Any]) -> str:
    """The `objects` of a question line; "" for one of version 0.1."""
    return str(question.get("objects", ""))


def read_records(file: Path, strict: bool = False) -> Records:
    """Read a results file. Raises InputError if the file is something else.

    A last line cut off by an interruption is ignored. Any other damaged line is left out and listed in `damaged`; with
    `strict` it raises InputError.
    """
    records = Records()
    for number, text, complete in _lines(file):
        where = f"{file.name}, line {number}"
        try:
            records.take(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if not complete and (number > 1 or text.startswith(_FIRST[: len(text)])):
                break
            if strict or number == 1:
                raise InputError(f"{where}: not a line of a study's file ({error!r}).") from None
            records.damaged.append(Omission(where, "not a line of a study's file"))
        if number == 1 and records.header.get("format") != FORMAT:
            raise InputError(f"{where}: expected the header of a study's file, format {FORMAT}; start a new file.")
    records.judge()
    return records


def lines_of(file: Path) -> Iterator[dict[str, Any]]:
    """Every line of a results file that can be read."""
    for _, text, _ in _lines(file):
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and "kind" in line:
            yield line


def _lines(file: Path) -> Iterator[tuple[int, str, bool]]:
    """(number, text, whether it ends with a newline) of each line that is not blank."""
    # Not str.splitlines: an answer may contain other Unicode line separators.
    lines = content_of(file).split(b"\n")
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield number, line.decode("utf-8", errors="replace"), number < len(lines)


def content_of(file: Path) -> bytes:
    """The uncompressed bytes of a results file; of a damaged .gz, whatever can be recovered."""
    content = file.read_bytes()
    if file.suffix != ".gz":
        return content
    found, place = bytearray(), 0
    while place < len(content):  # one gzip member per session's write
        member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            while not member.eof and place < len(content):
                chunk = content[place : place + (1 << 16)]
                found += member.decompress(chunk)
                place += len(chunk) - len(member.unused_data)
        except zlib.error:
            break
    return bytes(found)
