"""The public place of `Backend`, the base class of every engine."""

from __future__ import annotations

from adafv_core.engine.backend import Backend

__all__ = ["Backend"]
