"""The endpoints of the HTTP API."""

from __future__ import annotations

from app.api.arguments import Endpoints
from app.api.ask import add_ask
from app.api.saved_runs import add_saved_runs
from app.api.sessions import add_sessions
from app.api.study import add_study
from app.context import AppContext


def add_endpoints(context: AppContext) -> None:
    """Add them to the page that is being built."""
    endpoints = Endpoints(context.settings)
    add_ask(context, endpoints)
    add_saved_runs(context, endpoints)
    add_sessions(context, endpoints)
    add_study(context)
