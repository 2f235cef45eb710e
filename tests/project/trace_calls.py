"""Counts the files and functions of the project that one call passes through: how long its way is.

    python tests/project/trace_calls.py

The first visit of each project function counts, in every thread, without comprehensions and lambdas. `moves` are
changes of file in the order of these visits, `returns` those moves that lead into a file that had been left before.
Each call is made once before it is traced, so that nothing is counted that only a first call does.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = tuple(str(ROOT / name) + "/" for name in ("adafv_core", "app"))
_LEFT_OUT = frozenset({"<lambda>", "<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>", "<module>"})


@dataclass
class Trace:
    """Project functions in the order of their first visit, as (file, qualified name)."""

    visits: list[tuple[str, str]] = field(default_factory=list)
    _seen: set[CodeType] = field(default_factory=set)

    def record(self, frame: FrameType, event: str, argument: Any) -> None:
        """A profile function as `sys.setprofile` takes it."""
        code = frame.f_code
        if event != "call" or code in self._seen or code.co_name in _LEFT_OUT:
            return
        if not code.co_filename.startswith(FOLDERS):
            return
        self._seen.add(code)
        visit = (code.co_filename[len(str(ROOT)) + 1 :], code.co_qualname)
        if visit not in self.visits:
            self.visits.append(visit)

    @property
    def counts(self) -> dict[str, int]:
        """files, functions, moves and returns."""
        files = [file for file, _ in self.visits]
        left: set[str] = set()
        moves = returns = 0
        for before, after in pairwise(files):
            if before != after:
                moves += 1
                left.add(before)
                returns += after in left
        return {"files": len(set(files)), "functions": len(files), "moves": moves, "returns": returns}


@contextmanager
def tracing() -> Iterator[Trace]:
    """Trace this thread and those that begin within the block."""
    trace = Trace()
    threading.setprofile(trace.record)
    sys.setprofile(trace.record)
    try:
        yield trace
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def traced(call: Callable[[], object]) -> Trace:
    """The trace of one call, not of the calls before it."""
    with tracing() as trace:
        call()
    return trace


def engine_answer() -> Trace:
    """`engine.answer` on the pocket model: a new picture, an engine that has answered before."""
    engine, (first, second) = _pocket()
    question = "What color is the star?"
    engine.answer(first, question, max_new_tokens=4)
    return traced(lambda: engine.answer(second, question, max_new_tokens=4))


def engine_answer_again() -> Trace:
    """`engine.answer` on the pocket model: another question about a picture that is encoded already."""
    engine, (first, _) = _pocket()
    engine.answer(first, "What color is the star?", max_new_tokens=4)
    return traced(lambda: engine.answer(first, "How many rings are there?", max_new_tokens=4))


def prune_and_generate() -> Trace:
    """A `prune` block around the stock model with one `generate` call in it."""
    import adafv_core

    engine, (first, _) = _pocket()
    text = engine.prompter.render("What color is the star?")
    inputs = engine.processor(images=[first], text=[text], return_tensors="pt")

    def call() -> None:
        with adafv_core.prune(engine.model, keep_ratio=0.1, processor=engine.processor):
            engine.model.generate(**inputs, max_new_tokens=4)

    call()
    return traced(call)


def page_ask() -> Trace:
    """Ask on the page, the server's side: from the values of the event to the last text, for a new picture."""
    import json

    from app.explore.tab import read_request
    from app.main import open_context
    from app.serving.page_stream import page_stream
    from app.settings import Settings
    from app.wire.parse import read_page_state

    context = open_context(Settings(device="cpu"))
    paths = [str(context.scenes.scene(index).path) for index in (3, 11)]

    def call(number: int) -> None:
        text = json.dumps({"keep_ratio": 0.1, "force_keep": [], "force_drop": [], "asked": number})
        state = read_page_state(text)
        session = context.service.session("traced", state)
        session.asking.supersede(number)
        values = {"image": paths[number - 1], "prompt": "What color is the ring?", "method": "adafv"}
        asked = read_request(context, state.choice, {**values, "max_new_tokens": 4})
        list(page_stream(context.service, session, asked, number))

    call(1)
    return traced(lambda: call(2))


CALLS: dict[str, Callable[[], Trace]] = {
    "engine.answer": engine_answer,
    "engine.answer, encoded picture": engine_answer_again,
    "prune + generate": prune_and_generate,
    "page Ask": page_ask,
}
"""What is traced, by the name in `trace_counts.json`; a new entry needs its counts there."""


def _pocket() -> tuple[Any, list[Any]]:
    import adafv_core
    from adafv_core.pocket.world.drawing import draw_scene
    from adafv_core.pocket.world.scenes import make_scene

    return adafv_core.load("pocket", device="cpu"), [draw_scene(make_scene(seed)) for seed in (7, 8)]


def main() -> None:
    """Print the table, and the way of each call after its name."""
    sys.path.insert(0, str(ROOT))
    for name, call in CALLS.items():
        trace = call()
        print(f"{name:34}", *(f"{count:4} {what}" for what, count in trace.counts.items()))
        if "--way" in sys.argv:
            print(*(f"    {file}  {function}" for file, function in trace.visits), sep="\n")


if __name__ == "__main__":
    main()
