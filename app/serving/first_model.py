"""Which model the page starts with, and what answers where that model cannot be loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from adafv_core.errors import ModelError, OutOfMemoryError
from adafv_core.memory import free_memory
from app.serving.jobs import Engine

AUTO = "auto"
POCKET = "pocket"
ON_A_GPU = "llava-hf/llava-1.5-7b-hf"


@dataclass(frozen=True)
class Started:
    """The first model. notice: a sentence for the page where it is not the one that was asked for, else empty."""

    name: str
    engine: Engine
    notice: str = ""


def starting_model(setting: str, gpu: bool) -> str:
    """The model a setting stands for: `auto` is LLaVA-1.5-7B on a GPU and the pocket model without one."""
    if setting != AUTO:
        return setting
    return ON_A_GPU if gpu else POCKET


def load_first(setting: str, fallback: bool, load: Callable[[str], Engine], gpu: bool | None = None) -> Started:
    """Load the model a setting stands for.

    fallback: where it cannot be loaded, start with the pocket model and a notice instead of raising ModelError.
    `auto` always falls back. gpu: whether there is one; None looks.
    """
    name = starting_model(setting, torch.cuda.is_available() if gpu is None else gpu)
    try:
        return Started(name, _loaded(name, load))
    except ModelError as error:
        if name == POCKET or not (fallback or setting == AUTO):
            raise
        sentence = f"{name} could not be loaded, so the bundled pocket model answers. {error}"
    free_memory()
    return Started(POCKET, _loaded(POCKET, load), sentence)


def _loaded(name: str, load: Callable[[str], Engine]) -> Engine:
    try:
        return load(name)
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError(f"{name} does not fit into this device's memory: choose a smaller model.") from error
