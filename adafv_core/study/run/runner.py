"""Runs a study: every question with every configuration and ratio; pictures are encoded once, nothing runs twice."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from adafv_core.engine.backend import Backend
from adafv_core.engine.gate import Stop
from adafv_core.errors import AdaFVError, ImageError, InputError, StoppedError
from adafv_core.study.data.base import DataSet, Item, Omission, images_of
from adafv_core.study.measure.accuracy import score_answer
from adafv_core.study.measure.alignment import measure
from adafv_core.study.measure.bounds import BOUNDS
from adafv_core.study.measure.fidelity import Reference, fidelity
from adafv_core.study.run.configs import FULL, Config, jobs
from adafv_core.study.run.inference import InferenceSettings, ScoredItem, answer_items, score_items
from adafv_core.study.run.numbering import KnownQuestions
from adafv_core.study.run.provenance import machine_facts, model_facts, versions
from adafv_core.study.run.results_file import FORMAT, Key, Records, objects_of, read_records
from adafv_core.study.run.results_writer import Writer
from adafv_core.types import Answer


@dataclass(frozen=True)
class Progress:
    """done, total: answers. seconds_left: at this session's pace, None if unknown. doing: the current step in words."""

    done: int
    total: int
    seconds_left: float | None
    doing: str


class Study:
    """One model, one data set, and the results file of their answers.

    An existing file is read and the study resumes where it stopped: answers stay valid for the same question (see
    `DataSet.question_id`), even if the set has changed since. Questions that cannot be asked, for example because of a
    damaged picture, are left out and listed in `records.omitted`; with `strict` the first one raises InputError.
    Raises InputError if the file belongs to another model or other inference settings.
    """

    def __init__(
        self,
        engine: Backend,
        data: DataSet,
        configs: Sequence[Config],
        ratios: Sequence[float],
        file: Path,
        settings: InferenceSettings | None = None,
        strict: bool = False,
    ) -> None:
        self.engine, self.data, self.file, self.strict = engine, data, file, strict
        self.settings = settings or InferenceSettings()
        self.jobs = [job for job in jobs(configs, ratios) if data.has_objects or job[0].method not in BOUNDS]
        self.records = read_records(file, strict) if file.exists() and file.stat().st_size else Records()
        self._check_header()
        self._omissions = list(data.omissions)
        self.items: dict[int, Item] = {}
        self._ids: dict[int, tuple[str, str]] = {}
        self._omitted: set[int] = set()
        self._number_questions()
        self.asked = [q for q, item in self.items.items() if item.answers]
        self.done = sum(len(self.asked) - len(self._missing(job, self.asked)) for job in self.jobs)
        self._writer: Writer | None = None

    @property
    def total(self) -> int:
        """Answers in all."""
        return len(self.jobs) * len(self.asked)

    @property
    def unwritten(self) -> str | None:
        """One sentence saying why answers could not be written to the file, or None."""
        if self._writer is None or self._writer.problem is None:
            return None
        return (
            f"{self._writer.unwritten:,} lines could not be written to {self.file.name} ({self._writer.problem}): free "
            "up space and run the same command again; missing questions are asked again."
        )

    def run(self, stop: Stop = None) -> Generator[Progress, None, None]:
        """Run everything that is missing, yielding after each batch; to stop the study, stop iterating.

        stop: also ends a batch that is running or waiting for the model. Its answers are not recorded and StoppedError
        is raised.
        """
        writer = self._begin()
        began, before, every = time.monotonic(), self.done, list(self.items)
        try:
            for start in range(0, len(every), self.settings.batch_size):
                for doing in self._chunk(writer, every[start : start + self.settings.batch_size], stop):
                    pace = (time.monotonic() - began) / (self.done - before) if self.done > before else None
                    left = None if pace is None else pace * (self.total - self.done)
                    waiting = f" · {writer.problem}" if writer.problem else ""
                    yield Progress(self.done, self.total, left, doing + waiting)
        finally:
            writer.flush()

    def _begin(self) -> Writer:
        """Open the file, and write what a session begins with."""
        writer = self._writer = Writer(self.file, self.records)
        if not self.records.header:
            writer.write(self._header())
        dropped = sorted(self.records.questions.keys() - self.items.keys())
        session = {"kind": "session", "machine": machine_facts(self.engine.device), "data": self._data_facts()}
        writer.write({**session, "dropped": dropped}, *(_omission_line(one) for one in self._omissions))
        return writer

    def _chunk(self, writer: Writer, numbers: Sequence[int], stop: Stop) -> Iterator[str]:
        """One batch of questions through every configuration; yields what was done."""
        todo = [(job, missing) for job in self.jobs if (missing := self._missing(job, numbers))]
        new = [q for q in numbers if not self._is_listed(q)]
        if not todo and not new:
            return
        began = time.monotonic()

        def omit(image: str, failed: Sequence[int], error: Exception) -> None:
            before = sum(len(self._missing(job, failed)) for job in self.jobs)
            self._omitted |= set(failed)
            self.done += before
            questions = f"{len(failed)} questions" if len(failed) != 1 else f"question {self.items[failed[0]].key}"
            self._omit(writer, Omission(f"{image} ({questions})", _reason(error)), error)

        items = {q: self.items[q] for q in numbers}
        scored = score_items(self.engine, self.data, items, self.settings.suffix, omit, stop)
        # A question's line and its measures are written together: one without the other would never be completed.
        listed = [self._question_line(q) for q in new if q in scored]
        writer.write(*listed, *self._measure_lines([scored[q] for q in scored if q not in self.records.measures]))
        yield "scores"
        for (config, keep), missing in todo:
            lines = []
            for one, answer in self._ask(config, keep, [scored[q] for q in missing if q in scored], stop):
                if isinstance(answer, Answer):
                    lines.append(self._answer_line(config, keep, one, answer))
                elif isinstance(answer, InputError):
                    line = {"kind": "unanswered", "row": config.label, "keep": keep, "q": one.q}
                    lines.append({**line, "why": str(answer)})
                else:  # may be specific to this session, so the question is asked again next time
                    where = f"question {one.item.key}, {_job_name(config, keep)}"
                    self._omit(writer, Omission(where, _reason(answer)), answer)
                    self.done += 1
            seconds, began = time.monotonic() - began, time.monotonic()
            n_answers = sum(line["kind"] == "answer" for line in lines)
            if not lines:
                continue
            writer.write(*lines, {"kind": "time", "answers": n_answers, "seconds": round(seconds, 4)})
            self.done += len(lines)
            yield _job_name(config, keep)

    def _ask(
        self, config: Config, keep: float | None, asked: Sequence[ScoredItem], stop: Stop
    ) -> list[tuple[ScoredItem, Answer | Exception]]:
        """Each question with its answer or its error; after an error in a batch, every question is asked alone."""
        if not asked:
            return []
        try:
            drafts = [self._draft(config, one.q) for one in asked]
            answers = answer_items(self.engine, config, keep, asked, self.settings, stop, drafts)
            return list(zip(asked, answers, strict=True))
        except StoppedError:
            raise
        except Exception as error:  # one question must not end the study
            if len(asked) == 1:
                return [(asked[0], error)]
        return [pair for one in asked for pair in self._ask(config, keep, [one], stop)]

    def _draft(self, config: Config, q: int) -> tuple[int, ...] | None:
        """What `full` answered, whose likelihood every row is asked for; None where it was answered by 0.1."""
        if config.method == FULL:
            return ()
        known = self.records.references.get(q)
        return None if known is None else known.ids

    def _omit(self, writer: Writer, omission: Omission, error: Exception) -> None:
        if self.strict:
            raise InputError(f"{omission.where}: {omission.why}") from error
        writer.write(_omission_line(omission))

    def _number_questions(self) -> None:
        """Give each question of the set its number in the file."""
        known = KnownQuestions(self.records.questions.values())
        unreadable: dict[str, list[str]] = {}
        objects_ids: dict[str, str] = {}
        for item in self.data.items:
            try:
                question_id = self.data.question_id(item)
            except ImageError as error:
                if self.strict:
                    raise
                unreadable.setdefault(item.image, []).append(str(error))
                continue
            q = known.number_of(question_id, item)
            if item.image not in objects_ids:
                objects_ids[item.image] = self.data.objects_id(item.image)
            self.items[q], self._ids[q] = item, (question_id, objects_ids[item.image])
            if q in self.records.questions and not self._is_listed(q):
                self.records.forget_objects(q)
        self._omissions += [
            Omission(f"{image} ({len(errors)} questions)", errors[0]) for image, errors in unreadable.items()
        ]

    def _is_listed(self, q: int) -> bool:
        """Whether the file has the question in its current form."""
        line = self.records.questions.get(q)
        return line is not None and objects_of(line) == self._ids[q][1]

    def _missing(self, job: tuple[Config, float | None], numbers: Sequence[int]) -> list[int]:
        key: Key = (job[0].label, job[1])
        if key in self.records.left_out:
            return []
        answers, unanswered = self.records.answers.get(key, {}), self.records.unanswered.get(key, {})
        return [
            q
            for q in numbers
            if self.items[q].answers and q not in answers and q not in unanswered and q not in self._omitted
        ]

    def _answer_line(self, config: Config, keep: float | None, one: ScoredItem, answer: Answer) -> dict[str, Any]:
        score = round(score_answer(answer.text, one.item.answers), 4)
        line: dict[str, Any] = {"kind": "answer", "row": config.label, "keep": keep, "q": one.q, "text": answer.text}
        line |= {"score": score, "kept": answer.n_kept}
        selection = answer.selection
        if selection.k_text or selection.k_visual:
            line |= {"k_text": selection.k_text, "k_visual": selection.k_visual}
        reference = Reference.of(answer) if config.method == FULL else self.records.references.get(one.q)
        line |= fidelity(answer, reference)
        if config.method == FULL and reference is not None:
            line |= reference.to_line()
        return line

    def _question_line(self, q: int) -> dict[str, Any]:
        item = self.items[q]
        line = {
            "kind": "question",
            "q": q,
            "id": self._ids[q][0],
            "objects": self._ids[q][1],
            "key": item.key,
            "image": item.image,
            "family": item.family,
            "group": item.group,
            "question": item.question,
            "answers": list(item.answers),
        }
        return {name: value for name, value in line.items() if value != ""}

    def _measure_lines(self, asked: Sequence[ScoredItem]) -> list[dict[str, Any]]:
        """Figures 2 to 4 for each question that names an object; other questions have no line."""
        lines = []
        for one in asked:
            if one.objects is None or not one.item.named:
                continue
            found = measure(one.scores, one.objects.on_any(one.item.named), one.objects.off_all(one.item.named))
            if found is not None:
                values = asdict(found)
                values |= {name: _sparse(values[name]) for name in ("on", "off")}
                values |= {name: round(values[name], 5) for name in ("auc_t2i", "auc_saliency")}
                lines.append({"kind": "measure", "q": one.q, **values})
        return lines

    def _data_facts(self) -> dict[str, Any]:
        facts = {
            "name": self.data.name,
            "questions": len(self.data.items),
            "pictures": len(images_of(self.data.items)),
            "has_objects": self.data.has_objects,
            "fingerprint": self.data.fingerprint(),
        }
        return {**facts, "notes": list(self.data.notes)} if self.data.notes else facts

    def _header(self) -> dict[str, Any]:
        return {
            "kind": "header",
            "format": FORMAT,
            "data": self._data_facts(),
            "model": model_facts(self.engine),
            "asking": {"max_new_tokens": self.settings.max_new_tokens, "suffix": self.settings.suffix},
            "versions": versions(),
        }

    def _check_header(self) -> None:
        recorded = self.records.header
        if not recorded:
            return
        current = self._header()
        for key in ("model", "asking"):
            if recorded[key] != current[key]:
                raise InputError(
                    f"{self.file.name} holds a study with another {key}: expected {current[key]}, got {recorded[key]}. "
                    "Name another file to write to, or remove this one to start over."
                )


def _omission_line(omission: Omission) -> dict[str, Any]:
    return {"kind": "omitted", "where": omission.where, "why": omission.why}


def _reason(error: Exception) -> str:
    """An error on one line, with its class unless its message is written for users."""
    text = " ".join(str(error).split())[:500]
    return text if isinstance(error, AdaFVError) else f"{type(error).__name__}: {text}"


def _job_name(config: Config, keep: float | None) -> str:
    return config.label if keep is None else f"{config.label} {keep:g}"


def _sparse(counts: Sequence[int]) -> list[int]:
    """A histogram as [index of the first non-empty bin, counts from there to the last non-empty bin …]."""
    filled = [place for place, count in enumerate(counts) if count]
    return [filled[0], *counts[filled[0] : filled[-1] + 1]] if filled else [0]
