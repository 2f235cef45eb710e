"""The causal map of a run: what leaving each kept patch out does to its answer, measured in the background."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from adafv_core.engine.gate import StopSignal
from adafv_core.errors import StoppedError
from adafv_core.study.measure.causal_map import CausalMap, causal_map
from app.serving.ask import Service
from app.serving.sessions import Run
from app.wire.parse import TokenChoice


def fill_causal_map(
    service: Service, run: Run, choice: TokenChoice, stop: StopSignal, block: int = 1
) -> Iterator[dict[str, Any]]:
    """`causal_map` of what a run keeps at this choice, as plain values after each batch; the last one complete, or
    stopped. choice: the budget, and the marks that count. block: see `causal_map`. Ends after `longest_job_s` of the
    settings; a question waits for at most one batch. Raises InputError of some kind, or OutOfMemoryError.
    """
    started_at_s = time.perf_counter()
    made = service.select(run, choice.about(run.subject), stop)
    measuring = causal_map(
        service.pool.engine(run.model),
        run.all_scores,
        made,
        max_new_tokens=run.max_new_tokens or service.settings.answer_tokens,
        block=block,
        stop=stop,
    )
    about = {"key": run.key, "prompt": run.prompt, "model": run.model, "method": run.method}
    about |= {"kept": [one.indices.tolist() for one in made], "n_visual": sum(one.size for one in run.all_scores)}
    known: CausalMap | None = None
    with suppress(StoppedError):
        while time.perf_counter() - started_at_s <= service.settings.longest_job_s:
            with service.background.turn(stop):
                more = next(measuring, None)
            if more is None:
                break
            known = more
            if not known.complete:
                yield {**about, **_view(known), "stopped": False}
    if known is not None:
        yield {**about, **_view(known), "stopped": not known.complete}


def _view(known: CausalMap) -> dict[str, Any]:
    return {
        "answer": known.answer.text,
        "block": known.block,
        "n_removals": known.n_removals,
        "removals": [asdict(one) for one in known.removals],
        "complete": known.complete,
        "sentence": sentence_of(known),
    }


def sentence_of(known: CausalMap) -> str:
    """How many groups change the answer; empty while none was left out."""
    count = len(known.removals)
    if not count:
        return ""
    changing = sum(not one.same for one in known.removals)
    side = f"of {known.block} × {known.block} patches"
    one, more = ("kept patch", "kept patches") if known.block == 1 else (f"block {side}", f"blocks {side}")
    verb = "change" if changing > 1 else "changes"
    text = f"{changing or 'none'} of the {count} {more if count > 1 else one} {verb} the answer when left out alone."
    return f"{text[0].upper()}{text[1:]}" if known.complete else f"So far {text}"
