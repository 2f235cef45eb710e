"""Files for download, deleted after a while."""

from __future__ import annotations

import secrets
import time
from pathlib import Path


class Exports:
    """A folder for downloads; each file has its own subfolder, so that names can repeat."""

    def __init__(self, folder: Path, kept_s: int) -> None:
        self.folder = folder
        self.kept_s = kept_s

    def place(self, name: str) -> Path:
        """A path for a new file of this name; expired files are deleted first."""
        self._clear()
        own = self.folder / secrets.token_urlsafe(12)
        own.mkdir(parents=True)
        return own / name

    def write(self, name: str, text: str) -> str:
        """Write a text file and return its path."""
        path = self.place(name)
        path.write_text(text, encoding="utf-8")
        return str(path)

    def _clear(self) -> None:
        limit = time.time() - self.kept_s
        for own in self.folder.glob("*/"):
            if own.stat().st_mtime < limit:
                for file in own.iterdir():
                    file.unlink(missing_ok=True)
                own.rmdir()
