"""All endpoints together; those of Study stand with their tab."""

from __future__ import annotations

from app.api.arguments import Offers
from app.api.ask import add_asking
from app.api.saved_runs import add_keeping
from app.api.sessions import add_sessions
from app.context import Site


def add_endpoints(site: Site) -> None:
    """Add them to the page being built."""
    offers = Offers(site.settings)
    add_asking(site, offers)
    add_keeping(site, offers)
    add_sessions(site, offers)
