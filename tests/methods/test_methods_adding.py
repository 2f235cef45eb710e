"""A new method is one new file and one line: done here on a copy of the library, in a fresh interpreter."""

from __future__ import annotations

from pathlib import Path

from helpers.library_copy import add_method, copy_library, list_method, run, run_shared_tests

EVERY_OTHER = '''"""Every other token first."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from adafv_core.methods.base import Choice, Method, best_of
from adafv_core.types import TokenScores


@dataclass(frozen=True, eq=False)
class EveryOther(Method):
    """Tokens at multiples of `stride` before all others, in order: no source, an example of a method."""

    name: ClassVar[str] = "every_other"
    stride: int = 2

    def choose(self, scores: TokenScores, budget: int) -> Choice:
        places = torch.arange(scores.size)
        kept, mixed = best_of((places % self.stride == 0).float(), budget)
        return Choice(kept, mixed)
'''

CHECK = """
from helpers.made_scores import made_scores, select
from adafv_core import METHODS, get_method
assert list(METHODS)[-1] == "every_other"
assert select("every_other", made_scores(), 4, stride=3).indices.tolist() == [0, 3, 6, 9]
"""


def test_one_file_and_one_line_add_a_method(tmp_path: Path) -> None:
    copy_library(tmp_path)
    add_method(tmp_path, "every_other", EVERY_OTHER)
    run(["-c", CHECK], tmp_path)
    run_shared_tests(tmp_path, "every_other")


def test_a_method_file_must_hold_the_method_it_is_named_for(tmp_path: Path) -> None:
    copy_library(tmp_path)
    list_method(tmp_path, "base")
    check = "import adafv_core.methods"
    try:
        run(["-c", check], tmp_path)
    except AssertionError as failed:
        assert "methods/base.py must define one Method subclass" in str(failed)
    else:
        raise AssertionError("a file without its method was accepted")
