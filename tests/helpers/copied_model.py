"""A copy of the bundled model's files."""

from __future__ import annotations

import shutil
from pathlib import Path

from helpers.models_shared import folder_of


def copied(family: str, folder: Path) -> Path:
    shutil.copytree(folder_of(family), folder, dirs_exist_ok=True)
    return folder
