"""AdaFV: training-free visual token pruning for LLaVA-style models, guided by the image and the question.

    import adafv_core
    engine = adafv_core.load("pocket")
    answer = engine.answer(image, "What is left of the ring?", keep_ratio=0.1)

The names below are imported when first used, so that `import adafv_core` itself costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adafv_core.engine import Engine, load
    from adafv_core.methods import METHODS, get_method
    from adafv_core.mixing import budget_path, mix, split_curve
    from adafv_core.patching import prune
    from adafv_core.saved_run import SavedRun, read_run, write_run
    from adafv_core.scoring import t2i_attention, word_attention
    from adafv_core.types import Answer, Selection, TokenScores, VisualTokens

__version__ = "0.2.0"

__all__ = [
    "METHODS",
    "Answer",
    "Engine",
    "SavedRun",
    "Selection",
    "TokenScores",
    "VisualTokens",
    "budget_path",
    "get_method",
    "load",
    "mix",
    "prune",
    "read_run",
    "split_curve",
    "t2i_attention",
    "word_attention",
    "write_run",
]

_HOME = {
    "METHODS": "methods",
    "Answer": "types",
    "Engine": "engine",
    "SavedRun": "saved_run",
    "Selection": "types",
    "TokenScores": "types",
    "VisualTokens": "types",
    "budget_path": "mixing",
    "get_method": "methods",
    "load": "engine",
    "mix": "mixing",
    "prune": "patching",
    "read_run": "saved_run",
    "split_curve": "mixing",
    "t2i_attention": "scoring",
    "word_attention": "scoring",
    "write_run": "saved_run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
