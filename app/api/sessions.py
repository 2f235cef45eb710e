"""Endpoints about the caller's own session: /models, /load_model and /stop."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import gradio as gr

from adafv_core.errors import AdaFVError, InputError, ModelError
from app.api.arguments import Offers
from app.context import Site
from app.serving.model_list import models_here, read_model, taken_over
from app.serving.sessions import Visit

NO_SESSION = (
    "MCP callers share one session, so nothing is loaded or stopped for one of them: use gradio_client or the page."
)


def add_sessions(site: Site, offers: Offers) -> None:
    """Add the endpoints to the page being built."""
    desk = site.desk

    def models(request: gr.Request) -> dict[str, Any]:
        """The models that can be asked here, and the one that answers this session."""
        return _models(desk.visits.of(request.session_hash))

    def load_model(request: gr.Request, name: Any) -> dict[str, Any]:
        """Load a model and let it answer this session, as soon as it is there; not over MCP."""
        wanted = read_model(name, site.settings)
        visit = desk.visits.of(_own_session(request))
        try:
            taken_over(visit, desk.garage.load(wanted))
        except AdaFVError as error:
            raise ModelError(f"{error} {visit.model} answers as before.") from None
        return _models(visit)

    def stop(request: gr.Request) -> dict[str, Any]:
        """End what this session is running: the model is free within a token; not over MCP."""
        desk.visits.of(_own_session(request)).end()
        return {"stopped": True}

    def _models(visit: Visit) -> dict[str, Any]:
        listed = models_here(desk.garage, site.settings, visit)
        return {"answers": visit.model, "models": [asdict(model) for model in listed]}

    offers.add(models)
    offers.add(load_model, concurrency_limit=16)
    offers.add(stop, queue=False)


def _own_session(request: gr.Request) -> str:
    """The caller's session. Raises InputError where it is not the caller's alone."""
    session = getattr(request, "session_hash", None)
    if not session or request.headers.get("x-gradio-user") == "mcp":
        raise InputError(NO_SESSION)
    return str(session)
