"""Adapters for model families. Adding a family means one new file here and its name in `_FILES`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from adafv_core.errors import UnsupportedModelError
from adafv_core.models.base import Adapter

_FILES = (
    "llava",
    "llava_next",
    "llava_onevision",
    "qwen2_vl",
    "qwen2_5_vl",
    "qwen3_vl",
    "qwen3_vl_moe",
    "internvl",
    "idefics3",
    "smolvlm",
)


def _adapter_in(file: str) -> type[Adapter]:
    """The Adapter subclass defined in a file of this package."""
    module = import_module(f"{__name__}.{file}")
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Adapter) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise ImportError(f"models/{file}.py must define one Adapter subclass; it defines {len(found)}.")
    return found[0]


ADAPTERS: dict[str, type[Adapter]] = {adapter.model_class: adapter for adapter in map(_adapter_in, _FILES)}
"""Adapters by the name of the transformers class they serve."""


def adapter_for(model: Any, processor: Any = None) -> Adapter:
    """The adapter for a loaded stock model, or for a model of a subclass of a known class.

    Raises UnsupportedModelError, which lists the known classes, for any other model.
    """
    for cls in type(model).__mro__:
        if cls.__name__ in ADAPTERS:
            return ADAPTERS[cls.__name__](model, processor)
    raise UnsupportedModelError(
        f"No adapter knows the model class {type(model).__name__}; known are {', '.join(ADAPTERS)}."
    )


__all__ = ["ADAPTERS", "Adapter", "adapter_for"]
