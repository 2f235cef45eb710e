"""A study's summary as a JSON file, one row per line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from adafv_core.errors import InputError
from adafv_core.study.run.results_writer import write_whole

Summary = dict[str, Any]


def write_summary(summary: Summary, file: Path) -> None:
    """Write a summary, one row per line so that diffs are readable. Raises OSError and keeps an existing file then."""
    fields = []
    for name, value in summary.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            lines = ",\n".join("  " + json.dumps(one, ensure_ascii=False) for one in value)
            fields.append(f"{json.dumps(name)}: [\n{lines}\n]")
        else:
            fields.append(f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}")
    write_whole(file, ("{\n" + ",\n".join(fields) + "\n}\n").encode())


def read_summary(file: Path) -> Summary:
    """Read a summary that a study wrote. Raises InputError for any other file."""
    try:
        summary = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file.name} cannot be read as a study's summary ({error}).") from None
    if not isinstance(summary, dict) or not {"rows", "figures", "model"} <= set(summary):
        raise InputError(f"{file.name} is not a study's summary; expected one written by python -m adafv_core.study.")
    summary.setdefault("omitted", [])  # new in 0.2
    return summary
