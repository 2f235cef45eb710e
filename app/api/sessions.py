"""Endpoints about the caller's own session: /models, /load_model and /stop."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import gradio as gr

from adafv_core.errors import AdaFVError, InputError, ModelError
from app.api.arguments import Endpoints
from app.context import AppContext
from app.gradio_ext.blocks import is_from_mcp
from app.gradio_ext.queueing import client_gone
from app.serving.models import listed_models, read_model, switch_model
from app.serving.sessions import Session

NO_SESSION = (
    "MCP callers share one session, so no model is loaded and nothing is stopped for one of them: use gradio_client "
    "or the page."
)


def add_sessions(context: AppContext, endpoints: Endpoints) -> None:
    """Add the endpoints to the page that is being built."""
    service = context.service

    def models(request: gr.Request) -> dict[str, Any]:
        """The models that this page offers, and the one that answers this session."""
        return _models(service.sessions.of(request.session_hash))

    def load_model(request: gr.Request, name: Any) -> dict[str, Any]:
        """Load a model and switch this session to it; not over MCP."""
        chosen = read_model(name, context.settings)
        session = service.sessions.of(_own_session_id(request))
        try:
            gone = client_gone(request)
            switch_model(session, service.pool.load(chosen, gone), gone)
        except AdaFVError as error:
            raise ModelError(f"{error} {session.model} answers as before.") from None
        return _models(session)

    def stop(request: gr.Request) -> dict[str, Any]:
        """Stop the jobs of this session: the model is free within a token; not over MCP."""
        service.sessions.of(_own_session_id(request)).end()
        return {"stopped": True}

    def _models(session: Session) -> dict[str, Any]:
        listed = listed_models(service.pool, context.settings, session)
        return {"answers": session.model, "models": [asdict(model) for model in listed]}

    endpoints.add(models)
    endpoints.add(load_model, ("name",), concurrency_limit=16)
    endpoints.add(stop, queue=False)


def _own_session_id(request: gr.Request) -> str:
    """The id of the caller's session. Raises InputError if other callers share it."""
    session_id = getattr(request, "session_hash", None)
    if not session_id or is_from_mcp(request):
        raise InputError(NO_SESSION)
    return str(session_id)
