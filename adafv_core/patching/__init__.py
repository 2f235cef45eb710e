"""Drop-in pruning for a stock model that someone else loaded: `prune`."""

from adafv_core.patching.prune import Pruning, Totals, prune
from adafv_core.patching.pruned_call import PrunedCall

__all__ = ["PrunedCall", "Pruning", "Totals", "prune"]
