"""Writes the results file of a study: appends lines so that an interruption or a full disk loses nothing."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from pathlib import Path
from typing import Any

from adafv_core.errors import InputError
from adafv_core.study.run.results_file import Records, content_of


class Writer:
    """Appends lines to a results file and to the records in memory.

    Each `write` goes to disk at once. If that fails (a full disk), the lines are kept and written with the next ones,
    and `problem` holds the reason. Raises InputError if the file cannot be opened at all.
    """

    def __init__(self, file: Path, records: Records) -> None:
        self.file, self.records = file, records
        self.problem: str | None = None
        self._unwritten: list[str] = []
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            _mend_end(file)
            file.open("ab").close()
        except OSError as error:
            raise InputError(f"{file.name} cannot be written ({error.strerror}); name another file.") from None

    @property
    def unwritten(self) -> int:
        """The number of lines not yet on disk."""
        return len(self._unwritten)

    def write(self, *lines: dict[str, Any]) -> None:
        """Append lines, in order."""
        for line in lines:
            self.records.take(line)
            self._unwritten.append(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
        self.flush()

    def flush(self) -> None:
        """Try to write the lines not yet on disk."""
        if not self._unwritten:
            return
        data = "".join(self._unwritten).encode("utf-8", errors="backslashreplace")
        try:
            _append(self.file, gzip.compress(data, mtime=0) if self.file.suffix == ".gz" else data)
        except OSError as error:
            self.problem = error.strerror or str(error)
        else:
            self.problem = None
            self._unwritten.clear()


def _append(file: Path, data: bytes) -> None:
    """Append all of the data or nothing. Raises OSError."""
    with file.open("ab", buffering=0) as out:
        size = out.seek(0, os.SEEK_END)
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[out.write(rest) :]
        except OSError:
            out.truncate(size)
            raise


def _mend_end(file: Path) -> None:
    """Remove a last line that was cut off, or complete it if only its newline is missing; of a damaged .gz, keep
    everything that can be recovered.
    """
    if not file.exists():
        return
    content = content_of(file)
    whole = content[: content.rfind(b"\n") + 1]
    rest = content[len(whole) :]
    try:
        end = rest + b"\n" if isinstance(json.loads(rest), dict) else b""
    except ValueError:
        end = b""
    if file.suffix == ".gz":
        if rest or not _is_whole_gzip(file):
            write_whole(file, gzip.compress(whole + end, mtime=0) if whole + end else b"")
    elif rest and end:
        _append(file, b"\n")
    elif rest:
        os.truncate(file, len(whole))


def _is_whole_gzip(file: Path) -> bool:
    try:
        gzip.decompress(file.read_bytes())
    except (OSError, EOFError, zlib.error):
        return False
    return True


def write_whole(file: Path, data: bytes) -> None:
    """Replace a file by these bytes atomically. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        draft.write_bytes(data)
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def pack(file: Path, to: Path) -> None:
    """Write a gzipped copy; equal content gives equal bytes. Raises OSError."""
    write_whole(to, gzip.compress(content_of(file), mtime=0))
