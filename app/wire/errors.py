"""User-facing error text: the message of an `AdaFVError` itself, one general sentence for anything else."""

from __future__ import annotations

import logging

from adafv_core.errors import AdaFVError

UNFORESEEN = "Something failed that should not have: try another picture, question or setting."
_LOG = logging.getLogger("adafv")


def sentence(error: Exception) -> str:
    """One sentence. An unexpected error goes to the server's log in full, and to no user."""
    if isinstance(error, AdaFVError):
        return str(error)
    _LOG.error("an unforeseen error", exc_info=error)
    return UNFORESEEN
