"""Drop-in pruning for a stock model that someone else loaded: `prune`."""

from adafv_core.patching.pruned_call import PrunedCall
from adafv_core.patching.pruning import Pruning, Totals, prune

__all__ = ["PrunedCall", "Pruning", "Totals", "prune"]
