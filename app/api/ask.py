"""Endpoints that ask: /ask, /scores, /answer_strip, /causal_map, /compare, /sweep and /new_scene."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr

from adafv_core.errors import InputError
from app.api.arguments import ASK, CAUSAL, COMPARE, MORE, SCORES, SIDE_B, STRIP, Endpoints
from app.context import AppContext
from app.events import CAUSAL_MAPS, COMPARISONS, STRIPS, SWEEPS, on_the_model
from app.explore.tab import read_request
from app.gradio_ext.queueing import client_gone
from app.serving.answer_strip import fill_strip, strip_view
from app.serving.ask import AskRequest
from app.serving.causal_map import fill_causal_map
from app.serving.comparison import compare_sides
from app.serving.sessions import Side
from app.sweep.run import read_sweep, run_sweep, sweep_view
from app.wire.parse import (
    LARGEST_BLOCK,
    METHOD_OPTIONS,
    TokenChoice,
    read_count,
    read_marks,
    read_method,
    read_ratio,
    shortened,
)
from app.wire.views import compare as compare_answers
from app.wire.views import measured, scores_view


def add_ask(context: AppContext, endpoints: Endpoints) -> None:
    """Add the endpoints to the page that is being built."""
    service = context.service

    def ask(request: gr.Request, **values: Any) -> dict[str, Any]:
        """Answer a question about an image with pruned visual tokens, and with all of them to compare."""
        session = service.sessions.of(request.session_hash)
        asked = read_api_request(context, values, session.model)
        run, selection, pruned = service.answered(session, asked, client_gone(request))
        return {
            "answer": pruned.text,
            "full_answer": run.full.text if run.full else None,
            "method": run.method,
            "model": run.model,
            "keep_ratio": asked.choice.keep_ratio,
            "options": {**run.options, "positions": asked.settings.positions},
            "k_text": selection.k_text,
            "k_visual": selection.k_visual,
            "share": run.share,
            "images": [{"n_visual": one.kept.shape[0], "n_kept": one.size} for one in run.selections],
            **measured(pruned),
            "full": measured(run.full) if run.full else None,
            **compare_answers(pruned, run.full),
        }

    def scores(request: gr.Request, **values: Any) -> dict[str, Any]:
        """Scores of every visual token for a question, and which tokens are kept: lists of equal length."""
        session = service.sessions.of(request.session_hash)
        asked = read_api_request(context, values, session.model)
        run, _ = service.selected(session, asked, client_gone(request))
        first, *more = [scores_view(*one) for one in zip(run.ranked(), run.selections, strict=True)]
        return {**first, "more_images": more}

    def answer_strip(request: gr.Request, **values: Any) -> Iterator[dict[str, Any]]:
        """Measure down to which budget the answer from all tokens holds; streams what is measured so far."""
        session = service.sessions.of(request.session_hash)
        asked = read_api_request(context, {**values, "keep_ratio": 1.0}, session.model)
        stop = session.filling.begin(client_gone=client_gone(request))
        run = service.score(session, asked, stop)
        for strip in fill_strip(service, run, asked.choice, stop, context.correct_answer(run)):
            view = strip_view(strip)
            yield {name: value for name, value in view.items() if name != "key"}

    def causal_map(request: gr.Request, block: Any, **values: Any) -> Iterator[dict[str, Any]]:
        """Leave each kept patch out and ask again: which ones the answer hangs on; streams what is measured so far."""
        side = read_count(block, "block, the side of the groups left out,", LARGEST_BLOCK)
        session = service.sessions.of(request.session_hash)
        asked = read_api_request(context, values, session.model)
        stop = session.removing.begin(client_gone=client_gone(request))
        run = service.score(session, asked, stop)
        for view in fill_causal_map(service, run, asked.choice, stop, side):
            yield {name: value for name, value in view.items() if name != "key"}

    def compare(request: gr.Request, b: Any, **values: Any) -> dict[str, Any]:
        """Two ways to ask about the same pictures side by side: answers, costs, times in turns, and kept tokens."""
        session = service.sessions.of(request.session_hash)
        asked = [read_api_request(context, one, session.model) for one in (values, read_side_b(values, b))]
        stop = session.comparing.begin(client_gone=client_gone(request))
        a, other = (Side(service.score(session, one, stop), one.choice) for one in asked)
        *_, last = compare_sides(service, a, other, stop)
        return last

    def sweep(request: gr.Request, methods: Any, keep_ratios: Any, **values: Any) -> dict[str, Any]:
        """Answer one question with every method at every keep ratio, and with all tokens to compare."""
        cells = read_sweep(methods, keep_ratios)
        session = service.sessions.of(request.session_hash)
        asked = read_api_request(context, {**values, "keep_ratio": 1.0, "method": "adafv"}, session.model)
        *_, last = run_sweep(service, session, asked, cells, client_gone=client_gone(request))
        return sweep_view(last)

    def new_scene(request: gr.Request) -> tuple[str, dict[str, Any]]:
        """Draw a scene of the pocket model's world, with questions about it and their answers."""
        scene = context.scenes.new_scene()
        pairs = [{"question": text, "answer": answer} for text, answer in scene.questions]
        return str(scene.path), {"seed": scene.seed, "questions": pairs}

    picture = gr.Image(type="filepath", visible=False, label="The drawn scene, PNG")
    swept = ("image", "prompt", "methods", "keep_ratios", *METHOD_OPTIONS, "positions", "max_new_tokens", *MORE)
    endpoints.add(ask, ASK, **on_the_model(context))
    endpoints.add(scores, SCORES, **on_the_model(context))
    endpoints.add(answer_strip, STRIP, **STRIPS)
    endpoints.add(causal_map, CAUSAL, **CAUSAL_MAPS)
    endpoints.add(compare, COMPARE, **COMPARISONS)
    endpoints.add(sweep, swept, **SWEEPS)
    endpoints.add(new_scene, (), (picture, endpoints.values))


def read_side_b(values: Mapping[str, Any], b: Any) -> dict[str, Any]:
    """The arguments of side B: those of side A but for what `b` names. Marks are for adafv: they stay on A where B has
    another method. Raises InputError.
    """
    if not isinstance(b, dict) or not b or not b.keys() <= set(SIDE_B):
        raise InputError(f"b must name at least one of {', '.join(SIDE_B)}, with its value; got {shortened(b)}.")
    marks = {} if b.get("method", values["method"]) == values["method"] else {"force_keep": [], "force_drop": []}
    return {**values, **marks, **b}


def read_api_request(context: AppContext, values: Mapping[str, Any], model: str) -> AskRequest:
    """One checked question from an endpoint's arguments. model: the session's. Raises InputError."""
    method = read_method(values["method"])
    keep, drop = (read_marks(values.get(name), name) for name in ("force_keep", "force_drop"))
    if method != "adafv" and (keep or drop):
        raise InputError(f"force_keep and force_drop are for the method adafv; leave them out with {method}.")
    return read_request(context, TokenChoice(read_ratio(values["keep_ratio"]), keep, drop), values, model)
