"""Adapters for the model families: `ADAPTERS` lists them, `adapter_for` finds the one for a loaded model."""

from __future__ import annotations

from typing import Any

from adafv_core.errors import UnsupportedModelError
from adafv_core.models.base import Adapter
from adafv_core.models.llava import LlavaAdapter
from adafv_core.models.llava_next import LlavaNextAdapter
from adafv_core.models.llava_onevision import LlavaOnevisionAdapter

ADAPTERS: dict[str, type[Adapter]] = {
    adapter.model_class: adapter for adapter in (LlavaAdapter, LlavaNextAdapter, LlavaOnevisionAdapter)
}


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
