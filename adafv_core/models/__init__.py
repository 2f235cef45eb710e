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
    """The Adapter subclass that a file of this folder defines."""
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
"""Every adapter by the name of the transformers class it serves."""


def adapter_for(model: Any, processor: Any = None) -> Adapter:
    """The adapter of a loaded stock model; subclasses of a known class are served too.

    Raises UnsupportedModelError naming the classes that are known.
    """
    for cls in type(model).__mro__:
        if cls.__name__ in ADAPTERS:
            return ADAPTERS[cls.__name__](model, processor)
    raise UnsupportedModelError(
        f"No adapter knows the model class {type(model).__name__}; known are {', '.join(ADAPTERS)}."
    )


__all__ = ["ADAPTERS", "Adapter", "adapter_for"]
