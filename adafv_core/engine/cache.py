"""Encoded images by content, bounded in bytes."""

from __future__ import annotations

import threading
from contextlib import suppress

from cachetools import LRUCache

from adafv_core.memory import tensor_bytes
from adafv_core.types import VisualTokens


class VisualCache:
    """Least-recently-used cache of encoded images by their `image_key`; holds at most `max_bytes` of tensors."""

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
        """Forget everything."""
        with self._lock:
            self._kept.clear()

    def __len__(self) -> int:
        return len(self._kept)
