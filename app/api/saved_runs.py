"""Endpoints for what one keeps: /overlays, /run and /read_run."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from adafv_core.errors import InputError
from app.api.arguments import Endpoints
from app.api.ask import ON_THE_MODEL, read_asked
from app.context import AppContext
from app.saved_runs.save_and_open import read_saved, save_json, save_png
from app.serving.ask import AskRequest
from app.serving.sessions import Run, Session
from app.wire.views import scores_view, words_view


def add_saved_runs(context: AppContext, endpoints: Endpoints) -> None:
    """Add the endpoints to the page being built."""

    def overlays(
        request: gr.Request,
        image: Any,
        prompt: Any,
        keep_ratio: Any,
        method: Any,
        temperature: Any,
        floor: Any,
        text_tokens: Any,
        positions: Any,
        force_keep: Any,
        force_drop: Any,
    ) -> str:
        """The four overlays on the image as one PNG: similarity, saliency, mixed score, kept tokens."""
        more = (temperature, floor, text_tokens, positions, 1, False)
        asked = read_asked(context, image, prompt, keep_ratio, method, more, force_keep, force_drop)
        drawn, _ = context.service.chosen(context.service.sessions.of(request.session_hash), asked)
        return save_png(context, *_kept(drawn, asked))

    def run(
        request: gr.Request,
        image: Any,
        prompt: Any,
        keep_ratio: Any,
        method: Any,
        max_new_tokens: Any,
        with_full: Any,
        temperature: Any,
        floor: Any,
        text_tokens: Any,
        positions: Any,
        force_keep: Any,
        force_drop: Any,
    ) -> str:
        """Ask, and get the whole run as a JSON file: scores, selection, answers, settings, versions, picture."""
        more = (temperature, floor, text_tokens, positions, max_new_tokens, with_full)
        asked = read_asked(context, image, prompt, keep_ratio, method, more, force_keep, force_drop)
        answered, _, _ = context.service.answered(
            context.service.sessions.of(request.session_hash), asked, asked.more.compare
        )
        return save_json(context, *_kept(answered, asked))

    def read_run(file: Any) -> tuple[str, dict[str, Any]]:
        """What is in a saved run: its picture, and scores, selection, answers and settings as plain values."""
        if not isinstance(file, str) or not file:
            raise InputError("There is no file yet: send a run that was saved as JSON.")
        saved, path = read_saved(context, file)
        values = {
            "model": saved.model,
            "revision": saved.revision,
            "versions": saved.versions,
            "prompt": saved.prompt,
            "options": saved.options,
            "keep_ratio": saved.keep_ratio,
            "force_keep": saved.force_keep,
            "force_drop": saved.force_drop,
            "max_new_tokens": saved.max_new_tokens,
            **scores_view(saved.scores, saved.selection),
            "words": words_view(saved.scores),
            "answers": saved.answers,
        }
        return str(path), values

    png = gr.File(visible=False, label="The overlays, PNG")
    saved_json = gr.File(visible=False, label="The run, JSON")
    picture = gr.Image(type="filepath", visible=False, label="The picture of the run")
    endpoints.add(overlays, png, **ON_THE_MODEL)
    endpoints.add(run, saved_json, **ON_THE_MODEL)
    endpoints.add(read_run, picture, endpoints.values)


def _kept(run: Run, asked: AskRequest) -> tuple[Session, str]:
    """A run and its choice as `save_and_open` takes them: on a page of its own, at the slider's place."""
    choice = asked.choice
    keep = {
        "keep_ratio": choice.keep_ratio,
        "force_keep": choice.force_keep,
        "force_drop": choice.force_drop,
    }
    return Session(run.model, run=run), json.dumps(keep)
