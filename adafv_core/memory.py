"""Out of memory, on any device: what is said, and what is given back."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from adafv_core.errors import OutOfMemoryError

_KEEP_FEWER = (
    "what the request held was freed. "
    "Keep fewer visual tokens, ask for fewer new tokens or a smaller batch, or load a smaller model."
)


@contextmanager
def memory_guard(advice: str = _KEEP_FEWER) -> Iterator[None]:
    """Turn an out-of-memory error of any device into OutOfMemoryError, once the failed run's tensors are
    freed.

    advice: the end of what is said: what was freed, and what would work.
    """
    message = None
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
    if message is not None:
        free_memory()
        raise OutOfMemoryError(f"The device ran out of memory ({message}); {advice}")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of any device or the machine's own, ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text


def free_memory() -> None:
    """Give cached device memory back."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
