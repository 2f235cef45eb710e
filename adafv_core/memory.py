"""Memory: tensor sizes, a cache of encoded images with a limit in bytes, and out-of-memory handling."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from cachetools import LRUCache
from torch import Tensor

from adafv_core.errors import OutOfMemoryError
from adafv_core.types import VisualTokens

_KEEP_FEWER = (
    "what the request held was freed. "
    "Keep fewer visual tokens, ask for fewer new tokens or a smaller batch, or load a smaller model."
)


def tensor_bytes(*values: Any) -> int:
    """Bytes of memory held by all tensors in these values, each storage counted once.

    values: tensors, or dataclasses such as VisualTokens and TokenScores, whose fields are searched.
    """
    storages: dict[int, int] = {}
    left = list(values)
    while left:
        value = left.pop()
        if isinstance(value, Tensor):
            storage = value.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        elif is_dataclass(value):
            left += [getattr(value, field.name) for field in fields(value)]
    return sum(storages.values())


class VisualCache:
    """Least-recently-used cache of encoded images by `image_key`; holds at most `max_bytes` of tensors."""

    def __init__(self, max_bytes: int) -> None:
        self._kept: LRUCache[str, VisualTokens] = LRUCache(max_bytes, getsizeof=tensor_bytes)
        self._lock = threading.Lock()

    @property
    def bytes(self) -> int:
        """Bytes held now."""
        return int(self._kept.currsize)

    def get(self, key: str) -> VisualTokens | None:
        """The encoded image with this key, or None."""
        with self._lock:
            return self._kept.get(key)

    def put(self, visual: VisualTokens) -> None:
        """Keep an encoded image, unless it alone is larger than the cache."""
        with self._lock, suppress(ValueError):
            self._kept[visual.image_key] = visual

    def clear(self) -> None:
        """Remove all images."""
        with self._lock:
            self._kept.clear()

    def __len__(self) -> int:
        return len(self._kept)


@contextmanager
def memory_guard(advice: str = _KEEP_FEWER) -> Iterator[None]:
    """Turn an out-of-memory error of any device into OutOfMemoryError, after freeing the failed run's tensors.

    advice: the end of the message: what was freed, and what to do.
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
    """Whether an error means that memory ran out, on any device or on the host."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text


def available_bytes(device: torch.device) -> int | None:
    """Bytes that a model loaded now could use: of the GPU, or of the machine; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return None


def return_freed_memory() -> None:
    """Give memory that was freed back to the system: glibc keeps what large pictures took. Does nothing elsewhere."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def free_memory() -> None:
    """Return cached device memory to the device, and freed memory to the system."""
    gc.collect()
    return_freed_memory()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
