"""Encode once, score, select, answer: `Engine` over a loaded model, and `load`, which makes one."""

from adafv_core.engine.engine import Engine, load

__all__ = ["Engine", "load"]
