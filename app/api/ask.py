"""Endpoints that ask: /ask, /scores, /sweep and /new_scene."""

from __future__ import annotations

from typing import Any

import gradio as gr

from adafv_core.errors import InputError
from app.api.arguments import Offers
from app.context import Site
from app.serving.ask import Question
from app.sweep.run import read_sweep, run_sweep, sweep_view
from app.wire.parse import Choice, read_marks, read_method, read_more, read_path, read_prompt, read_ratio

ON_THE_MODEL: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1}


def add_asking(site: Site, offers: Offers) -> None:
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
        asked = read_asked(site, image, prompt, keep_ratio, method, more, force_keep, force_drop)
        return site.desk.answer(site.desk.visits.of(request.session_hash), asked, asked.more.compare)

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
        asked = read_asked(site, image, prompt, keep_ratio, method, more, force_keep, force_drop)
        return site.desk.scores(site.desk.visits.of(request.session_hash), asked)

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
        asked = read_asked(site, image, prompt, 1.0, "adafv", more)
        return sweep_view(list(run_sweep(site.desk, site.desk.visits.of(request.session_hash), asked, cells))[-1])

    def new_scene() -> tuple[str, dict[str, Any]]:
        """Draw a scene of the pocket model's world, with questions about it and their answers."""
        scene = site.scenes.new_scene()
        pairs = [{"question": text, "answer": answer} for text, answer in scene.questions]
        return str(scene.path), {"seed": scene.seed, "questions": pairs}

    picture = gr.Image(type="filepath", visible=False, label="The drawn scene, PNG")
    offers.add(ask, **ON_THE_MODEL)
    offers.add(scores, **ON_THE_MODEL)
    offers.add(sweep, concurrency_id="sweep", concurrency_limit=1)
    offers.add(new_scene, picture, offers.values)


def read_asked(
    site: Site,
    image: Any,
    prompt: Any,
    keep_ratio: Any,
    method: Any,
    more: tuple[Any, ...],
    keep: Any = None,
    drop: Any = None,
) -> Question:
    """One checked request from an endpoint's arguments. more: as `read_more` takes them. Raises InputError."""
    ratio, name, settings = read_ratio(keep_ratio), read_method(method), read_more(*more, site.settings)
    choice = Choice(ratio, read_marks(keep, "force_keep"), read_marks(drop, "force_drop"))
    if name != "adafv" and (choice.force_keep or choice.force_drop):
        raise InputError(f"force_keep and force_drop are for the method adafv; leave them out with {name}.")
    text = read_prompt(prompt, site.settings)
    picture, key = site.desk.picture(read_path(image))
    return Question(picture, key, text, name, choice, settings)
