"""What a visitor is told of an error: its own sentence where it was made for people, else one of ours."""

from __future__ import annotations

import logging

from adafv_core.errors import AdaFVError

UNFORESEEN = "Something failed here that should not have: try another picture, question or setting."
_LOG = logging.getLogger("adafv")


def sentence(error: Exception) -> str:
    """One sentence. What nobody foresaw goes to the server's log, whole, and to no visitor."""
    if isinstance(error, AdaFVError):
        return str(error)
    _LOG.error("an unforeseen error", exc_info=error)
    return UNFORESEEN
