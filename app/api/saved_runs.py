"""Endpoints for saved runs: /overlays, /run and /read_run."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import gradio as gr

from adafv_core.errors import InputError
from app.api.arguments import ASK, SCORES, Endpoints
from app.api.ask import read_api_request
from app.context import AppContext
from app.events import on_the_model
from app.gradio_ext.queueing import client_gone
from app.saved_runs.save_and_open import read_saved, save_json, save_png
from app.serving.sessions import Session
from app.wire.parse import AskSettings, PageState
from app.wire.views import scores_view, words_view


def add_saved_runs(context: AppContext, endpoints: Endpoints) -> None:
    """Add the endpoints to the page that is being built."""
    service = context.service

    def overlays(request: gr.Request, **values: Any) -> str:
        """The four overlays on the image as one PNG: similarity, saliency, mixed score, kept tokens."""
        session = service.sessions.of(request.session_hash)
        asked = read_api_request(context, values, session.model)
        run, _ = service.selected(session, asked, client_gone(request))
        return save_png(context, Session(run.model, run=run), PageState(asked.choice))

    def run(request: gr.Request, **values: Any) -> str:
        """Ask, and get the whole run as a JSON file: scores, selection, answers, settings, versions, picture."""
        session = service.sessions.of(request.session_hash)
        asked = read_api_request(context, values, session.model)
        answered, _, _ = service.answered(session, asked, client_gone(request))
        return save_json(context, Session(answered.model, run=answered), PageState(asked.choice))

    def read_run(request: gr.Request, file: Any) -> tuple[str, dict[str, Any]]:
        """The content of a saved run: its picture, and its scores, selection, answers and settings as plain values."""
        if not isinstance(file, str) or not file:
            raise InputError("There is no file yet: send a run that was saved as JSON.")
        saved, (path, *_) = read_saved(context, file)
        values = {
            "model": saved.model,
            "revision": saved.revision,
            "versions": saved.versions,
            "prompt": saved.prompt,
            "options": {**saved.options, "positions": saved.selection.positions or AskSettings.positions},
            "keep_ratio": saved.keep_ratio,
            "force_keep": saved.force_keep,
            "force_drop": saved.force_drop,
            "max_new_tokens": saved.max_new_tokens,
            **scores_view(saved.scores, saved.selection),
            "words": words_view(saved.scores),
            "answers": saved.answers,
            "share": saved.share,
            "more_images": [
                {
                    **scores_view(one.scores, one.selection),
                    "words": words_view(one.scores),
                    "picture": f"data:image/{one.picture_type};base64,{b64encode(one.picture).decode('ascii')}",
                }
                for one in saved.more
            ],
        }
        return str(path), values

    png = gr.File(visible=False, label="The overlays, PNG")
    saved_json = gr.File(visible=False, label="The run, JSON")
    picture = gr.Image(type="filepath", visible=False, label="The picture of the run")
    endpoints.add(overlays, SCORES, (png,), **on_the_model(context))
    endpoints.add(run, ASK, (saved_json,), **on_the_model(context))
    endpoints.add(read_run, ("file",), (picture, endpoints.values))
