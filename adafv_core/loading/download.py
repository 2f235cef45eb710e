"""Downloads a model's files into the hub client's cache and reports the progress in bytes.

Only the files that make up a model are fetched: weights as safetensors, and the text files of config, tokenizer and
processor. Never a pickle, never code.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import constants, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import DryRunError
from huggingface_hub.utils.tqdm import tqdm

from adafv_core.errors import ModelError, ModelNotFoundError

ONE_FILE, INDEX = "model.safetensors", "model.safetensors.index.json"
WANTED = (ONE_FILE, "model-*.safetensors", "*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt")
UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
PROCESSOR, TOKENIZER = ("processor_config.json", "preprocessor_config.json"), ("tokenizer_config.json",)


@dataclass(frozen=True)
class DownloadProgress:
    """Progress of a download. total_bytes: size of all missing files. done_bytes: received of them so far."""

    done_bytes: int
    total_bytes: int

    def __str__(self) -> str:
        """Both numbers in the unit of the total: `3.2 of 14.1 GB`."""
        size, name = next((unit for unit in UNITS if self.total_bytes >= unit[0] / 10), UNITS[-1])
        return f"{self.done_bytes / size:.1f} of {self.total_bytes / size:.1f} {name}"


Report = Callable[[DownloadProgress], None]


def cached_folder(model_id: str, commit: str | None = None) -> Path | None:
    """The folder of a complete model in the local cache, else None; does not use the network.

    commit: a commit hash or the name of a revision; None is the main branch as last fetched.
    """

    def cached(file: str) -> Path | None:
        found = try_to_load_from_cache(model_id, file, revision=commit)
        return Path(found) if isinstance(found, str) else None

    config, index = cached("config.json"), cached(INDEX)
    weights = [ONE_FILE] if index is None else json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
    complete = any(map(cached, PROCESSOR)) and any(map(cached, TOKENIZER)) and all(map(cached, set(weights)))
    return config.parent if config is not None and complete else None


def download(model_id: str, commit: str, progress: Report | None = None) -> Path | None:
    """Fetch the missing files of a model into the cache and return its folder.

    If the cache is complete, the network is not used. Returns None if files are missing and the hub cannot be reached.
    progress: called from the downloading threads, one call at a time, with done_bytes rising from 0 to total_bytes;
    what it raises ends the download. Without it the hub client shows its own progress bars in the terminal.

    Raises ModelNotFoundError if the connection breaks, ModelError if the disk is full.
    """
    complete = cached_folder(model_id, commit)
    if complete is not None:
        return complete
    wanted: dict[str, Any] = {"repo_id": model_id, "revision": commit, "allow_patterns": list(WANTED)}
    try:
        files = snapshot_download(**wanted, dry_run=True, tqdm_class=_bar_into(_Count(0, None)))
    except DryRunError:
        return None
    total = sum(file.file_size or 0 for file in files if file.will_download)
    _check_room(model_id, total)
    count = _Count(total, progress)
    try:
        folder = snapshot_download(**wanted, tqdm_class=_bar_into(count) if progress else None)
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0][:200] or type(error).__name__
        raise ModelNotFoundError(
            f"The download of {model_id} broke off ({count.in_words()}{first}): load it again to resume; "
            "complete files are kept."
        ) from error
    count.finish()
    return Path(folder)


class _Count:
    """Bytes received, from the byte counters of the hub client in several threads."""

    def __init__(self, total: int, progress: Report | None) -> None:
        self.total = total
        self.done = 0
        self._progress = progress
        self._lock = threading.Lock()
        self._report()

    def reached(self, done: float) -> None:
        """A counter reached `done`. Counters may reset when a file is retried; reported progress never falls."""
        with self._lock:
            if self.done < done:
                self.done = min(int(done), self.total)
                self._report()

    def finish(self) -> None:
        """Report all bytes as received, whatever the counters show."""
        self.reached(self.total)

    def in_words(self) -> str:
        """The progress in words; empty if no progress is reported."""
        return f"at {DownloadProgress(self.done, self.total)}; " if self._progress else ""

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(DownloadProgress(self.done, self.total))


def _bar_into(count: _Count) -> type[tqdm]:
    """A progress bar class that displays nothing and only counts.

    The hub client creates one bar for bytes received, one for bytes written and one for files; the larger of the first
    two is reported.
    """

    class Bar(tqdm):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            self.bytes = 0.0
            self.is_of_bytes = options.get("unit") == "B"
            super().__init__(*arguments, **{**options, "disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> bool | None:
            with self.get_lock():  # type: ignore[no-untyped-call]
                self.bytes += n or 0
            if self.is_of_bytes:
                count.reached(self.bytes)
            return None

    return Bar


def _check_room(model_id: str, total: int) -> None:
    folder = Path(constants.HF_HUB_CACHE).expanduser().absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if total > free:
        raise ModelError(
            f"{model_id} needs {total / 1e9:.1f} GB on the disk of the hub's cache; {free / 1e9:.1f} GB are free: "
            "make room there, or set HF_HOME to a folder on a larger disk."
        )
