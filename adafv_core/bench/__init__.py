"""`adafv bench`: what pruning costs and saves, measured variant beside variant on random weights of real shapes."""
