"""Runs a study from the page on checked input, batch by batch, so that other users get the model in between."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adafv_core.bundled import ASSETS
from adafv_core.engine.gate import Stop, stop_signal
from adafv_core.errors import InputError, StoppedError
from adafv_core.methods import METHODS
from adafv_core.study.data.base import DataSet
from adafv_core.study.data.image_folder import ImageFolder
from adafv_core.study.data.pocket import STUDY_SCENES, PocketSet
from adafv_core.study.data.user import SUFFIX, open_user_set
from adafv_core.study.measure.bounds import BOUNDS
from adafv_core.study.report.summary import summarize
from adafv_core.study.report.summary_file import Summary, read_summary
from adafv_core.study.report.tables import duration
from adafv_core.study.run.configs import Config, check_keep_ratios, parse_configs
from adafv_core.study.run.inference import InferenceSettings
from adafv_core.study.run.results_file import read_records
from adafv_core.study.run.runner import Progress, Study
from app.serving.ask import Service
from app.wire.images import open_image
from app.wire.parse import read_count, read_list, read_number

RESULTS = ASSETS / "results"
MOST_PICTURES = 500
MOST_ANSWERS = 20_000
_BATCH = 16


@dataclass(frozen=True)
class StudyRequest:
    """A checked request. data: the bundled scenes or the user's own pictures."""

    model: str
    configs: tuple[Config, ...]
    ratios: tuple[float, ...]
    data: DataSet
    settings: InferenceSettings

    @property
    def key(self) -> str:
        """Equal for requests whose answers can share a results file."""
        text = repr((self.model, self.data.fingerprint(), self.settings))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_request(service: Service, model: str, methods: Any, ratios: Any, scenes: Any, files: Any) -> StudyRequest:
    """The checked request for values from the page or the API. Raises InputError."""
    names = [str(name) for name in read_list(methods, "methods", "saliency and adafv")]
    unknown = [name for name in names if name not in (*METHODS, *BOUNDS)]
    if unknown:
        raise InputError(f"There is no method {unknown[0]!r}; expected {', '.join((*METHODS, *BOUNDS))}.")
    given = read_list(ratios, "keep_ratios", "0.25 and 0.1")
    shares = check_keep_ratios([read_number(ratio, "Each of keep_ratios", 0.1) for ratio in given])
    configs = parse_configs(names)
    if files:
        return StudyRequest(model, configs, shares, _own_data(service, files), InferenceSettings(_BATCH, 16, SUFFIX))
    count = read_count(scenes, "scenes", STUDY_SCENES)
    return StudyRequest(model, configs, shares, PocketSet("study", count), InferenceSettings(_BATCH, 8))


def _own_data(service: Service, files: Sequence[Any]) -> DataSet:
    paths = [Path(str(file)) for file in files]
    notes = [path for path in paths if path.suffix.lower() == ".json"]
    pictures = [path for path in paths if path not in notes]
    if not notes or not pictures:
        raise InputError("Your own data needs pictures and at least one annotation file (.json), uploaded together.")
    if len(pictures) > MOST_PICTURES:
        raise InputError(
            f"The page takes at most {MOST_PICTURES} pictures; got {len(pictures)}. Use the command line for more."
        )
    return open_user_set(
        ImageFolder(((path.name, path) for path in pictures), lambda path: open_image(path, service.settings)), notes
    )


def run_study(service: Service, request: StudyRequest, file: Path, stop: Stop) -> Iterator[Progress]:
    """Run the questions missing from `file`, taking turns with other users; ends early once `stop` is set, or after
    `longest_job_s` of the settings. Raises InputError for more than MOST_ANSWERS.
    """
    engine = service.pool.engine(request.model)
    study = Study(engine, request.data, request.configs, request.ratios, file, request.settings)
    if study.total > MOST_ANSWERS:
        raise InputError(
            f"The page measures at most {MOST_ANSWERS:,} answers, not {study.total:,}: choose fewer methods, keep "
            "ratios or scenes, or use the command line."
        )
    ends_at_s = time.monotonic() + service.settings.longest_job_s
    yield Progress(study.done, study.total, None, "waiting for the model")
    stopped = stop_signal(stop)
    with suppress(StoppedError), closing(study.run(stop)) as steps:
        while not stopped() and time.monotonic() < ends_at_s and (step := next(steps, None)) is not None:
            yield step


def summary_of(file: Path) -> Summary | None:
    """The summary of the answers so far; None if there are too few."""
    if not file.exists():
        return None
    try:
        return summarize(read_records(file))
    except InputError:
        return None


def progress_text(progress: Progress, stopped: bool = False) -> str:
    """The progress line, as JSON text."""
    done, total = progress.done, progress.total
    share = done / total if total else 1.0
    if stopped:
        text = f"Stopped after {done:,} of {total:,} answers; finished answers are kept, and Run continues from there."
    elif done == total and progress.seconds_left is not None:
        text = f"All {total:,} answers are in."
    else:
        left = "" if progress.seconds_left is None else f" · {duration(progress.seconds_left)} left"
        text = f"{done:,} of {total:,} answers{left} · {progress.doing}"
    return json.dumps({"share": share, "text": text})


def stored_results(folder: Path = RESULTS) -> dict[str, Summary]:
    """Stored summaries by name, the main study first."""
    if not folder.is_dir():
        return {}
    files = sorted(folder.glob("*.json"), key=lambda file: (file.stem != "pocket", file.stem))
    return {file.stem: read_summary(file) for file in files}
