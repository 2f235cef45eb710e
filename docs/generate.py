"""Rewrites the tables that follow from the code: `python docs/generate.py`; with `--check` it only compares.

Each is the text between `<!-- NAME:begin -->` and `<!-- NAME:end -->`. The results come from
`python -m adafv_core.study.report` instead.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from adafv_core.bundled import ROOT
from adafv_core.loading.known_models import KNOWN_MODELS
from adafv_core.methods import METHODS
from app.settings import settings_table


def models_table() -> str:
    """The known models: Hub id, parameters, download size, memory of a GPU and a CPU, visual tokens, license."""
    rows = [
        "| model | Hub id | parameters | download | GPU / CPU memory | visual tokens | license |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for known in KNOWN_MODELS:
        tokens = f"{'up to ' if known.n_visual > 576 else ''}{known.n_visual:,}"
        memory = f"{known.gpu_bytes / 1e9:.0f} / {known.cpu_bytes / 1e9:.0f} GB"
        sizes = f"{known.parameters / 1e9:.1f} B | {known.download_bytes / 1e9:.1f} GB | {memory} | {tokens}"
        rows.append(f"| {known.title} | `{known.model_id}` | {sizes} | {known.license} |")
    return "\n".join(rows)


def methods_table() -> str:
    """Every method: its title and name, what it keeps, its options, its source."""
    rows = ["| method | name | what it keeps | options | source |", "| --- | --- | --- | --- | --- |"]
    for name, method in METHODS.items():
        options = ", ".join(f"`{field.name}`" for field in fields(method))
        rows.append(f"| {method.title} | `{name}` | {method.keeps} | {options} | {method.source} |")
    return "\n".join(rows)


TABLES: Mapping[str, Callable[[], str]] = {
    "models": models_table,
    "methods": methods_table,
    "settings": settings_table,
}
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def generated(text: str) -> str:
    """A document with each of its tables as the code has it."""
    for name, table in TABLES.items():
        begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
        if begin in text:
            before, _, rest = text.partition(begin)
            text = f"{before}{begin}{table()}\n{end}{rest.partition(end)[2]}"
    return text


def main() -> int:
    """0; 1 if `--check` finds a document out of date."""
    parser = argparse.ArgumentParser(prog="python docs/generate.py", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; 1 if a document is out of date")
    check = parser.parse_args().check
    outdated = [file for file in DOCUMENTS if generated(file.read_text("utf-8")) != file.read_text("utf-8")]
    for file in outdated:
        print(f"{'out of date' if check else 'rewritten'}: {file.relative_to(ROOT)}")
        if not check:
            file.write_text(generated(file.read_text("utf-8")), "utf-8")
    return int(check and bool(outdated))


if __name__ == "__main__":
    sys.exit(main())
