"""Runs a study: every question for every row and ratio, each picture encoded once, nothing asked twice."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from adafv_core.engine import Engine
from adafv_core.errors import InputError
from adafv_core.study.data.base import DataSet, images_of
from adafv_core.study.measure.accuracy import score_answer
from adafv_core.study.measure.alignment import measure
from adafv_core.study.run.configs import BOUNDS, Row, jobs
from adafv_core.study.run.inference import Scored, Settings, ask, score_items
from adafv_core.study.run.provenance import machine_facts, model_facts, versions
from adafv_core.study.run.results_file import FORMAT, Records, Writer, read_records
from adafv_core.types import Answer


@dataclass(frozen=True)
class Progress:
    """done, total: answers. seconds_left: at the pace of this session; None before there is one. doing: in words."""

    done: int
    total: int
    seconds_left: float | None
    doing: str


class Study:
    """One engine, one data set, and the file their answers go to.

    The file is read if it is there, and the study goes on where it stopped. Raises InputError where the file belongs
    to another data set, model or way of asking.
    """

    def __init__(
        self,
        engine: Engine,
        data: DataSet,
        rows: Sequence[Row],
        ratios: Sequence[float],
        file: Path,
        settings: Settings | None = None,
    ) -> None:
        self.engine, self.data, self.file = engine, data, file
        self.settings = settings or Settings()
        self.jobs = [job for job in jobs(rows, ratios) if data.has_objects or job[0].method not in BOUNDS]
        self.asked = [q for q, item in enumerate(data.items) if item.answers]
        self.records = read_records(file) if file.exists() and file.stat().st_size else Records()
        self._check_header()

    @property
    def total(self) -> int:
        """Answers in all."""
        return len(self.jobs) * len(self.asked)

    @property
    def done(self) -> int:
        """Answers there are already, with those that no method can give."""
        keys = [(row.label, keep) for row, keep in self.jobs]
        records = self.records
        return sum(len(self.asked) if key in records.left_out else len(records.answers.get(key, ())) for key in keys)

    def run(self) -> Iterator[Progress]:
        """Ask what has not been asked yet, one batch between two values; whoever stops iterating stops the study."""
        writer = Writer(self.file, self.records)
        if not self.records.header:
            writer.write(self._header())
        writer.write({"kind": "session", "machine": machine_facts(self.engine.device)})
        began, before = time.monotonic(), self.done
        for start in range(0, len(self.data.items), self.settings.batch_size):
            numbers = range(start, min(start + self.settings.batch_size, len(self.data.items)))
            for doing in self._chunk(writer, numbers):
                done = self.done
                pace = (time.monotonic() - began) / (done - before) if done > before else None
                yield Progress(done, self.total, None if pace is None else pace * (self.total - done), doing)

    def _chunk(self, writer: Writer, numbers: range) -> Iterator[str]:
        """One batch of questions through every row; yields what was done."""
        todo = [(job, missing) for job in self.jobs if (missing := self._missing(job, numbers))]
        unlisted = [q for q in numbers if q not in self.records.questions]
        writer.write(*(self._question_line(q) for q in unlisted))
        if not todo and not unlisted:
            return
        began = time.monotonic()
        scored = score_items(self.engine, self.data, {q: self.data.items[q] for q in numbers}, self.settings.suffix)
        writer.write(*self._measure_lines([scored[q] for q in numbers if q not in self.records.measures]))
        yield "scores"
        for (row, keep), missing in todo:
            try:
                answers = ask(self.engine, row, keep, [scored[q] for q in missing], self.settings)
            except InputError as error:
                writer.write({"kind": "left out", "row": row.label, "keep": keep, "why": str(error)})
                continue
            lines = [self._answer_line(row, keep, q, one) for q, one in zip(missing, answers, strict=True)]
            seconds, began = time.monotonic() - began, time.monotonic()
            writer.write(*lines, {"kind": "time", "answers": len(lines), "seconds": round(seconds, 4)})
            yield row.label if keep is None else f"{row.label} {keep:g}"

    def _missing(self, job: tuple[Row, float | None], numbers: range) -> list[int]:
        key = (job[0].label, job[1])
        if key in self.records.left_out:
            return []
        known = self.records.answers.get(key, {})
        return [q for q in numbers if self.data.items[q].answers and q not in known]

    def _answer_line(self, row: Row, keep: float | None, q: int, answer: Answer) -> dict[str, Any]:
        score = round(score_answer(answer.text, self.data.items[q].answers), 4)
        line: dict[str, Any] = {"kind": "answer", "row": row.label, "keep": keep, "q": q, "text": answer.text}
        line |= {"score": score, "kept": answer.n_kept}
        selection = answer.selection
        if selection.k_text or selection.k_visual:
            line |= {"k_text": selection.k_text, "k_visual": selection.k_visual}
        return line

    def _question_line(self, q: int) -> dict[str, Any]:
        item = self.data.items[q]
        line = {
            "kind": "question",
            "q": q,
            "key": item.key,
            "image": item.image,
            "family": item.family,
            "group": item.group,
            "question": item.question,
            "answers": list(item.answers),
        }
        return {name: value for name, value in line.items() if value != ""}

    def _measure_lines(self, asked: Sequence[Scored]) -> list[dict[str, Any]]:
        """Figures 2 to 4 of each question that names an object; questions that name none have no line."""
        lines = []
        for one in asked:
            if one.places is None or not one.item.named:
                continue
            found = measure(one.scores, one.places.on_any(one.item.named), one.places.off_all(one.item.named))
            if found is not None:
                values = asdict(found)
                values |= {name: _sparse(values[name]) for name in ("on", "off")}
                values |= {name: round(values[name], 5) for name in ("auc_t2i", "auc_saliency")}
                lines.append({"kind": "measure", "q": one.q, **values})
        return lines

    def _header(self) -> dict[str, Any]:
        return {
            "kind": "header",
            "format": FORMAT,
            "data": {
                "name": self.data.name,
                "questions": len(self.data.items),
                "pictures": len(images_of(self.data.items)),
                "has_objects": self.data.has_objects,
                "fingerprint": self.data.fingerprint(),
            },
            "model": model_facts(self.engine),
            "asking": {"max_new_tokens": self.settings.max_new_tokens, "suffix": self.settings.suffix},
            "versions": versions(),
        }

    def _check_header(self) -> None:
        there = self.records.header
        if not there:
            return
        here = self._header()
        for part in ("data", "model", "asking"):
            if there[part] != here[part]:
                raise InputError(
                    f"{self.file.name} holds a study with another {part}: {there[part]} there, {here[part]} here. "
                    "Name another file to write to, or remove this one to begin anew."
                )


def _sparse(counts: Sequence[int]) -> list[int]:
    """A histogram as [first bin that is not empty, counts up to the last such bin …]."""
    filled = [place for place, count in enumerate(counts) if count]
    return [filled[0], *counts[filled[0] : filled[-1] + 1]] if filled else [0]
