"""The table of docs/models.md that says which test proves what, for which family, against the tests themselves."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

import pytest
from helpers.documents import section
from helpers.models_shared import engine_of
from helpers.tiny_families import NEWER
from helpers.tiny_models import FAMILIES

from adafv_core.models import ADAPTERS

TITLE = "What is proved for which family"
COLUMNS = {
    "LLaVA-1.5": ("llava", "llava_siglip"),
    "LLaVA-NeXT": ("llava_next_vicuna", "llava_next_mistral"),
    "LLaVA-OneVision": ("llava_onevision",),
    "Qwen2-VL, 2.5-VL": ("qwen2_vl", "qwen2_5_vl"),
    "Qwen3-VL, MoE": ("qwen3_vl", "qwen3_vl_moe"),
    "InternVL": ("internvl",),
    "Idefics3, SmolVLM": ("idefics3", "smolvlm"),
}
"""The tiny models of `tests/helpers` behind each column."""
TABLE = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in section("docs/models.md", TITLE).splitlines()
    if line.startswith("|") and "---" not in line
]
PROOFS = [(row[0], test, column) for row in TABLE[1:] for column, test in zip(TABLE[0][1:], row[1:], strict=True)]


def families_of(test: Any) -> set[str]:
    """The families that a test is parametrized over."""
    found: set[str] = set()
    for mark in test.pytestmark:
        names = [name.strip() for name in mark.args[0].split(",")] if isinstance(mark.args[0], str) else mark.args[0]
        if mark.name == "parametrize" and "family" in names:
            at = list(names).index("family")
            found |= {value[at] if len(names) > 1 else value for value in mark.args[1]}
    return found


def test_every_family_has_a_column() -> None:
    assert list(COLUMNS) == TABLE[0][1:]
    tiny = [family for families in COLUMNS.values() for family in families]
    assert sorted(tiny) == sorted([*FAMILIES, *NEWER])
    assert {type(engine_of(family).model).__name__ for family in tiny} == set(ADAPTERS)


@pytest.mark.parametrize(("proof", "tests", "column"), PROOFS)
def test_every_proof_is_a_test_of_that_family(proof: str, tests: str, column: str) -> None:
    """A cell names its tests by number; each exists and is parametrized over the models of its column."""
    legend = dict(re.findall(r"^(\d+)\. `([^`]+)`", section("docs/models.md", TITLE), re.M))
    numbers = re.findall(r"\d+", tests)
    assert numbers, f"{proof}: no test for {column}"
    proved: set[str] = set()
    for number in numbers:
        path, name = legend[number].split("::")
        module = import_module(path.removesuffix(".py").replace("/", "."))
        proved |= families_of(getattr(module, name))
    assert set(COLUMNS[column]) <= proved
