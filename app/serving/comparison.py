"""Two sides of a comparison, each a question with picture, method, budget and settings: answers, costs, kept tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from adafv_core.engine.gate import StopSignal
from adafv_core.errors import StoppedError
from adafv_core.methods import METHODS
from adafv_core.types import Answer, Selection
from app.serving.answer_strip import full_answer
from app.serving.answer_times import times_in_turns
from app.serving.ask import Service
from app.serving.sessions import Run, Side
from app.wire.parse import AskSettings
from app.wire.views import compare, divergence, measured


def compare_sides(service: Service, a: Side, b: Side, stop: StopSignal) -> Iterator[dict[str, Any]]:
    """Both sides as plain values, first without times, then with the times of both, measured in turns.

    `same` and `kl_nats` are of B beside A, as `views.compare` gives them for a pruned answer beside the full one; KL is
    None for two models. `tokens` says how many kept tokens both sides share; None where the sides do not have the same
    pictures in the same grids. Each side has `kl_from_full_nats`, of its answer beside that from all tokens.
    Raises StoppedError, InputError of some kind, or OutOfMemoryError.
    """
    sides = {"a": a, "b": b}
    answers = {name: _answer(service, side, stop) for name, side in sides.items()}
    full_a = full_answer(service, a.run, stop)
    full = {"a": full_a, "b": full_a if _same_question(a.run, b.run) else full_answer(service, b.run, stop)}
    compared = compare(answers["b"], answers["a"])
    if a.run.model != b.run.model:
        compared["kl_nats"] = None
    known = {name: _side_view(sides[name], answers[name], full[name]) for name in sides} | compared
    known |= {"tokens": _shared_tokens(a.run, b.run, answers["a"].selections, answers["b"].selections), "times": None}
    yield known
    asked = {name: (side.run, service.request_at(side.run, side.choice, 1)) for name, side in sides.items()}
    times = times_in_turns(service, asked, stop)
    yield {**known, "times": {name: asdict(one) for name, one in times.items()}}


def _answer(service: Service, side: Side, stop: StopSignal) -> Answer:
    """The whole answer of one side, in the background."""
    run = side.run
    request = service.request_at(run, side.choice, run.max_new_tokens or service.settings.answer_tokens)
    images = [replace(one, encode_s=0.0) for one in run.all_scores]
    with service.background.turn(stop):
        answer = service.pool.engine(run.model).answer(images, None, request, stop=stop)
    if not answer.finished:
        raise StoppedError("The comparison was stopped.")
    return answer


def _side_view(side: Side, answer: Answer, full: Answer) -> dict[str, Any]:
    run = side.run
    return {
        "prompt": run.prompt,
        "model": run.model,
        "method": run.method,
        "method_title": METHODS[run.method].title,
        "keep_ratio": side.choice.keep_ratio,
        "options": {**run.options, "positions": run.positions or AskSettings.positions, "share": run.share},
        "answer": answer.text,
        "full_answer": full.text,
        "kl_from_full_nats": divergence(full, answer),
        "kept": [one.indices.tolist() for one in answer.selections],
        **measured(answer),
    }


def _same_question(a: Run, b: Run) -> bool:
    return (a.subject, a.prompt, a.max_new_tokens) == (b.subject, b.prompt, b.max_new_tokens)


def _shared_tokens(a: Run, b: Run, kept_a: Sequence[Selection], kept_b: Sequence[Selection]) -> dict[str, int] | None:
    """Tokens kept by both sides, and by one of them alone."""
    grids = [[(one.visual.picture_key, one.visual.grid) for one in run.all_scores] for run in (a, b)]
    if grids[0] != grids[1]:
        return None
    both = sum(int((one.kept & other.kept).sum()) for one, other in zip(kept_a, kept_b, strict=True))
    sizes = [sum(one.size for one in kept) for kept in (kept_a, kept_b)]
    return {"both": both, "only_a": sizes[0] - both, "only_b": sizes[1] - both}
