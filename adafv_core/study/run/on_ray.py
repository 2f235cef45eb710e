"""A study on a Ray cluster: every worker asks a part of the questions, and this process alone writes the results file.

A worker runs an ordinary `Study` over its part, in a file of its own that begins with what the results file knows about
those questions; what it adds comes back. So the results are those of a local run, and a study may go on locally what it
began on a cluster.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adafv_core.backends.ray_data import mapped
from adafv_core.backends.remote import ModelFacts, facts_of
from adafv_core.engine import load
from adafv_core.engine.backend import Backend
from adafv_core.engine.gate import Stop, stop_signal
from adafv_core.errors import StoppedError
from adafv_core.study.data.base import DataSet, Item
from adafv_core.study.data.source import DataSource
from adafv_core.study.run.configs import Config
from adafv_core.study.run.inference import InferenceSettings
from adafv_core.study.run.results_file import lines_of
from adafv_core.study.run.runner import Progress, Study

PIECES_PER_WORKER = 4
"""At least: so that workers which are done sooner have something left to do."""


@dataclass(frozen=True)
class Model:
    """A model to load; plain values."""

    name: str
    device: str = "auto"
    dtype: str = "auto"


@dataclass(frozen=True)
class Cluster:
    """address: as in RayOptions. workers: the most processes, a model each. num_gpus, num_cpus: for each."""

    address: str = ""
    workers: int = 2
    num_gpus: float | None = None
    num_cpus: float = 1.0


@dataclass(frozen=True)
class Piece:
    """Numbers of questions by their keys in the data set, and the results file's lines about them, header first."""

    numbers: Mapping[str, int]
    lines: tuple[dict[str, Any], ...]


class FactsWorker:
    """Loads a model and says what it is."""

    def __init__(self, model: Model) -> None:
        self.facts = facts_of(load(model.name, model.device, model.dtype))

    def __call__(self, piece: None) -> ModelFacts:
        return self.facts


class StudyWorker:
    """Asks pieces of a study; made from plain values in the process where it works."""

    def __init__(
        self,
        model: Model,
        source: DataSource,
        configs: Sequence[Config],
        ratios: Sequence[float],
        settings: InferenceSettings,
        strict: bool,
    ) -> None:
        self.engine = load(model.name, model.device, model.dtype)
        self.data = source.open()
        self.by_key = {item.key: item for item in self.data.items}
        self.arguments = configs, ratios
        self.settings, self.strict = settings, strict

    def __call__(self, piece: Piece) -> tuple[list[int], list[dict[str, Any]]]:
        """The piece's numbers, and the lines to add."""
        part = SomeQuestions(self.data, [self.by_key[key] for key in piece.numbers])
        with tempfile.TemporaryDirectory(prefix="adafv-study-") as folder:
            file = Path(folder) / "piece.jsonl"
            file.write_text("".join(json.dumps(line) + "\n" for line in piece.lines), encoding="utf-8")
            study = _PieceStudy(piece.numbers, self.engine, part, *self.arguments, file, self.settings, self.strict)
            for _ in study.run():
                pass
            added = list(lines_of(file))[len(piece.lines) :]
        return list(piece.numbers.values()), [line for line in added if line["kind"] not in ("header", "session")]


class _PieceStudy(Study):
    """A study whose questions have the numbers of the whole one: `random` draws by them."""

    def __init__(self, numbers: Mapping[str, int], *arguments: Any) -> None:
        self._numbers = numbers
        super().__init__(*arguments)

    def _number_questions(self) -> None:
        super()._number_questions()
        number = {q: self._numbers[item.key] for q, item in self.items.items()}
        self.items = {number[q]: item for q, item in self.items.items()}
        self._ids = {number[q]: ids for q, ids in self._ids.items()}


class SomeQuestions(DataSet):
    """Some of a data set's questions."""

    def __init__(self, data: DataSet, items: Sequence[Item]) -> None:
        self.name, self.has_objects, self.items = data.name, data.has_objects, tuple(items)
        self._data = data

    def picture(self, image: str) -> Image.Image:
        return self._data.picture(image)

    def picture_id(self, image: str) -> str:
        return self._data.picture_id(image)

    def object_ids(self, image: str) -> tuple[int, ...]:
        return self._data.object_ids(image)

    def object_mask(self, image: str, object_id: int) -> NDArray[np.float32]:
        return self._data.object_mask(image, object_id)

    def objects_id(self, image: str) -> str:
        return self._data.objects_id(image)


class RayStudy(Study):
    """A `Study` whose questions are asked on a cluster. source, model: what workers open and load."""

    def __init__(
        self,
        model: Model,
        source: DataSource,
        configs: Sequence[Config],
        ratios: Sequence[float],
        file: Path,
        settings: InferenceSettings | None = None,
        strict: bool = False,
        cluster: Cluster | None = None,
    ) -> None:
        self.cluster = cluster or Cluster()
        pool = {"address": self.cluster.address, "workers": self.cluster.workers}
        self._pool: dict[str, Any] = {**pool, "num_gpus": self.cluster.num_gpus, "num_cpus": self.cluster.num_cpus}
        (facts,) = mapped(FactsWorker, (model,), [None], **{**self._pool, "workers": 1})
        # Of a backend, only what it says about its model is asked here: the workers have the models.
        super().__init__(cast(Backend, facts), source.open(), configs, ratios, file, settings, strict)
        self._made_from = model, source, tuple(configs), tuple(ratios), self.settings, strict

    def run(self, stop: Stop = None) -> Generator[Progress, None, None]:
        """`Study.run`; a value per piece. What runs on the cluster when it is stopped is asked again next time."""
        stopped = stop_signal(stop)
        known = self._known_lines()
        writer = self._begin()
        began, before = time.monotonic(), self.done
        pieces = self._pieces(known)
        try:
            with closing(mapped(StudyWorker, self._made_from, pieces, **self._pool)) as results:
                for done, (numbers, lines) in enumerate(results, 1):
                    missing = self._count_missing(numbers)
                    writer.write(*lines)
                    self.done += missing
                    pace = (time.monotonic() - began) / max(1, self.done - before)
                    doing = f"{done} of {len(pieces)} pieces"
                    yield Progress(self.done, self.total, pace * (self.total - self.done), doing)
                    if stopped():
                        raise StoppedError("The study was stopped; run it again to continue.")
        finally:
            writer.flush()

    def _known_lines(self) -> dict[int, list[dict[str, Any]]]:
        found: dict[int, list[dict[str, Any]]] = {}
        for line in lines_of(self.file) if self.file.exists() else ():
            if "q" in line:
                found.setdefault(line["q"], []).append(line)
        return found

    def _pieces(self, known: dict[int, list[dict[str, Any]]]) -> list[Piece]:
        todo = [q for q in self.items if self._count_missing([q]) or not self._is_listed(q)]
        most = max(1, -(-len(todo) // (PIECES_PER_WORKER * self.cluster.workers)))
        size = min(self.settings.batch_size, most)
        header = self.records.header
        return [
            Piece(
                {self.items[q].key: q for q in todo[start : start + size]},
                (header, *(line for q in todo[start : start + size] for line in known.get(q, ()))),
            )
            for start in range(0, len(todo), size)
        ]

    def _count_missing(self, numbers: Sequence[int]) -> int:
        return sum(len(self._missing(job, numbers)) for job in self.jobs)
