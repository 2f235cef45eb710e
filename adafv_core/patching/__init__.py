"""Drop-in pruning for a stock model that someone else loaded: `prune`."""

from adafv_core.patching.prune import Pruning, prune

__all__ = ["Pruning", "prune"]
