"""Limits that the library and the page share; importing them costs nothing."""

MAX_PIXELS = 100_000_000
"""The most pixels a picture may have."""
