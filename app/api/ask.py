"""Endpoints that ask: /ask, /scores, /sweep and /new_scene."""

from __future__ import annotations

from typing import Any

import gradio as gr

from adafv_core.errors import InputError
from app.api.arguments import Endpoints
from app.context import AppContext
from app.serving.ask import AskRequest
from app.sweep.run import read_sweep, run_sweep, sweep_view
from app.wire.parse import TokenChoice, read_marks, read_method, read_more, read_path, read_prompt, read_ratio

ON_THE_MODEL: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1}


def add_ask(context: AppContext, endpoints: Endpoints) -> None:
    """Add the endpoints to the page being built."""

    def ask(
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
    ) -> dict[str, Any]:
        """Answer a question about an image with pruned visual tokens, and with all of them to compare."""
        more = (temperature, floor, text_tokens, positions, max_new_tokens, with_full)
        asked = read_asked(context, image, prompt, keep_ratio, method, more, force_keep, force_drop)
        return context.service.answer(context.service.sessions.of(request.session_hash), asked, asked.more.compare)

    def scores(
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
    ) -> dict[str, Any]:
        """Scores of every visual token for a question, and which ones stay: equal-length lists."""
        more = (temperature, floor, text_tokens, positions, 1, False)
        asked = read_asked(context, image, prompt, keep_ratio, method, more, force_keep, force_drop)
        return context.service.scores(context.service.sessions.of(request.session_hash), asked)

    def sweep(
        request: gr.Request,
        image: Any,
        prompt: Any,
        methods: Any,
        keep_ratios: Any,
        temperature: Any,
        floor: Any,
        text_tokens: Any,
        positions: Any,
        max_new_tokens: Any,
    ) -> dict[str, Any]:
        """Answer one question with every method at every keep ratio, beside all tokens."""
        cells = read_sweep(methods, keep_ratios)
        more = (temperature, floor, text_tokens, positions, max_new_tokens, True)
        asked = read_asked(context, image, prompt, 1.0, "adafv", more)
        return sweep_view(
            list(run_sweep(context.service, context.service.sessions.of(request.session_hash), asked, cells))[-1]
        )

    def new_scene() -> tuple[str, dict[str, Any]]:
        """Draw a scene of the pocket model's world, with questions about it and their answers."""
        scene = context.scenes.new_scene()
        pairs = [{"question": text, "answer": answer} for text, answer in scene.questions]
        return str(scene.path), {"seed": scene.seed, "questions": pairs}

    picture = gr.Image(type="filepath", visible=False, label="The drawn scene, PNG")
    endpoints.add(ask, **ON_THE_MODEL)
    endpoints.add(scores, **ON_THE_MODEL)
    endpoints.add(sweep, concurrency_id="sweep", concurrency_limit=1)
    endpoints.add(new_scene, picture, endpoints.values)


def read_asked(
    context: AppContext,
    image: Any,
    prompt: Any,
    keep_ratio: Any,
    method: Any,
    more: tuple[Any, ...],
    keep: Any = None,
    drop: Any = None,
) -> AskRequest:
    """One checked request from an endpoint's arguments. more: as `read_more` takes them. Raises InputError."""
    ratio, name, settings = read_ratio(keep_ratio), read_method(method), read_more(*more, context.settings)
    choice = TokenChoice(ratio, read_marks(keep, "force_keep"), read_marks(drop, "force_drop"))
    if name != "adafv" and (choice.force_keep or choice.force_drop):
        raise InputError(f"force_keep and force_drop are for the method adafv; leave them out with {name}.")
    text = read_prompt(prompt, context.settings)
    picture, key = context.service.picture(read_path(image))
    return AskRequest(picture, key, text, name, choice, settings)
