"""The answer along the whole slider: which budgets still give the answer from all tokens, and how far they move it.

A few budgets over the whole range come first; then the interval between two neighbors that differ is halved until they
are next to each other. Several budgets go through the model together, as many as cost at most one full prefill, and
other callers get the model between two such batches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

from adafv_core.checks import budget_from_keep_ratio
from adafv_core.engine.backend import Backend
from adafv_core.engine.gate import StopSignal
from adafv_core.engine.request import Request
from adafv_core.errors import BudgetError, StoppedError
from adafv_core.methods import METHODS
from adafv_core.study.measure.accuracy import score_answer
from adafv_core.types import Answer, Selection
from app.serving.ask import Service
from app.serving.sessions import Run
from app.wire.parse import TokenChoice
from app.wire.payload import slider_ratios
from app.wire.strips import AnswerStrip, StripPoint
from app.wire.views import compare

COARSE = 15
"""Budgets measured first, spread evenly over the slider, besides the one that the slider is at."""
MOST_IN_A_BATCH = 8


@dataclass(frozen=True)
class _Step:
    """One budget of the slider. selections: of each image; empty for a method inside the LLM, which selects anew."""

    keep_ratio: float
    n_kept: int
    selections: tuple[Selection, ...]


def fill_strip(
    service: Service, run: Run, choice: TokenChoice, stop: StopSignal, correct: str | None = None
) -> Iterator[AnswerStrip]:
    """Measure the budgets of a run's slider, yielding the strip after each batch, the last one complete or stopped.

    choice: its marks count, and its budget is among the first. correct: the right answer, if known. Starts from the
    strip that the run holds, if it is of the same marks, and leaves its own there. Ends after `longest_job_s` of the
    settings.
    Raises InputError of some kind, or OutOfMemoryError.
    """
    choice = choice.about(run.subject) if run.method == "adafv" else TokenChoice(choice.keep_ratio)
    started_at_s = time.perf_counter()
    sizes = [unit.size for unit in run.units]
    ratios = _distinct_ratios(sizes)
    first = _first_budgets(ratios, sizes, choice.keep_ratio)
    strip = run.strip
    if strip is None or not strip.is_of(run.prompt, run.method, run.max_new_tokens, choice):
        strip = AnswerStrip(
            key=run.key,
            prompt=run.prompt,
            model=run.model,
            method=run.method,
            n_visual=sum(one.size for one in run.all_scores),
            n_budgets=len(ratios),
            max_new_tokens=run.max_new_tokens,
            force_keep=choice.force_keep,
            force_drop=choice.force_drop,
            correct_answer=correct,
        )
    measured = {ratios.index(point.keep_ratio): point for point in strip.points}
    strip = replace(strip, stopped=False)
    yield strip
    with suppress(StoppedError):
        full = full_answer(service, run, stop)
        strip = replace(strip, full_answer=full.text, full_correct=_judged(full, correct))
        while not stop.is_set() and (wanted := _next_budgets(measured, first)):
            steps, refused = _selected(service, run, choice, [ratios[at] for at in wanted])
            measured |= {ratios.index(point.keep_ratio): point for point in refused}
            for batch in _batches(steps, strip.n_visual, METHODS[run.method].inside_llm):
                answers = _answers(service, run, batch, stop)
                for step, answer in zip(batch, answers, strict=False):
                    if answer.finished:
                        measured[ratios.index(step.keep_ratio)] = _point(step, answer, full, correct)
                strip = run.strip = replace(strip, points=tuple(measured[at] for at in sorted(measured)))
                yield strip
                if stop.is_set() or time.perf_counter() - started_at_s > service.settings.longest_job_s:
                    raise StoppedError("The strip was stopped.")
    complete = not _next_budgets(measured, first)
    strip = run.strip = replace(
        strip,
        points=tuple(measured[at] for at in sorted(measured)),
        complete=complete,
        stopped=not complete,
    )
    yield strip


def _distinct_ratios(sizes: Sequence[int]) -> list[float]:
    """The slider's keep ratios, one for each budget, ascending."""
    return sorted({_budgets(ratio, sizes): ratio for ratio in slider_ratios()}.values())


def _budgets(ratio: float, sizes: Sequence[int]) -> tuple[int, ...]:
    return tuple(budget_from_keep_ratio(ratio, size) for size in sizes)


def _first_budgets(ratios: Sequence[float], sizes: Sequence[int], shown: float) -> list[int]:
    """The places among `ratios` to measure first. shown: the keep ratio that the slider is at."""
    even = {round(at * (len(ratios) - 1) / (COARSE - 1)) for at in range(COARSE)}
    here = {at for at, ratio in enumerate(ratios) if _budgets(ratio, sizes) == _budgets(shown, sizes)}
    return sorted(even | here)


def _next_budgets(measured: dict[int, StripPoint], first: Sequence[int]) -> list[int]:
    """The places to measure next: the first ones that are missing, else the middle between neighbors that differ."""
    missing = [at for at in first if at not in measured]
    return missing or [
        (low + high) // 2
        for low, high in pairwise(sorted(measured))
        if high - low > 1 and measured[low].outcome != measured[high].outcome
    ]


def _selected(
    service: Service, run: Run, choice: TokenChoice, ratios: Sequence[float]
) -> tuple[list[_Step], list[StripPoint]]:
    """The selections at these keep ratios, and the points where the method refuses the budget."""
    steps, refused = [], []
    for ratio in ratios:
        if METHODS[run.method].inside_llm:
            steps.append(_Step(ratio, sum(_budgets(ratio, [unit.size for unit in run.units])), ()))
            continue
        try:
            made = service.select(run, replace(choice, keep_ratio=ratio))
        except BudgetError as error:
            refused.append(StripPoint(ratio, error=str(error)))
        else:
            steps.append(_Step(ratio, sum(one.size for one in made), made))
    return steps, refused


def _batches(steps: Sequence[_Step], n_visual: int, alone: bool) -> list[list[_Step]]:
    """The steps in batches, each padded to its longest row and costing at most one prefill of all tokens."""
    batches: list[list[_Step]] = []
    for step in sorted(steps, key=lambda one: one.n_kept):
        last = batches[-1] if batches else []
        fits = not alone and 0 < len(last) < MOST_IN_A_BATCH and (len(last) + 1) * step.n_kept <= n_visual
        if fits:
            last.append(step)
        else:
            batches.append([step])
    return batches


def _answers(service: Service, run: Run, batch: Sequence[_Step], stop: StopSignal) -> list[Answer]:
    request = Request(
        run.method,
        run.options,
        # Selections that were made before the LLM leave it unused.
        keep_ratio=batch[0].keep_ratio,
        max_new_tokens=run.max_new_tokens or service.settings.answer_tokens,
        positions=run.positions,
        share=run.share,
    )
    selections = None if METHODS[run.method].inside_llm else [step.selections for step in batch]

    def work(engine: Backend) -> list[Answer]:
        questions = [(list(run.all_scores), run.prompt)] * len(batch)
        return engine.answer_batch(questions, request, batch_size=len(batch), selections=selections, stop=stop)

    return _in_the_background(service, run, stop, work)


def full_answer(service: Service, run: Run, stop: StopSignal) -> Answer:
    """A run's answer from all tokens, asked in the background if the run does not hold it. Raises StoppedError."""
    if run.full is not None and run.full.finished:
        return run.full
    request = Request("full", keep_ratio=1.0, max_new_tokens=run.max_new_tokens or service.settings.answer_tokens)
    images = list(run.all_scores)
    (answer,) = _in_the_background(service, run, stop, lambda engine: [engine.answer(images, None, request, stop=stop)])
    if not answer.finished:
        raise StoppedError("The answer from all tokens was stopped.")
    return answer


def _in_the_background(
    service: Service, run: Run, stop: StopSignal, work: Callable[[Backend], list[Answer]]
) -> list[Answer]:
    """What `work` answers, in this job's turn among those of the background: a question waits for one of them."""
    with service.background.turn(stop):
        return work(service.pool.engine(run.model))


def _point(step: _Step, answer: Answer, full: Answer, correct: str | None) -> StripPoint:
    return StripPoint(
        step.keep_ratio, step.n_kept, answer.text, **compare(answer, full), correct=_judged(answer, correct)
    )


def _judged(answer: Answer, correct: str | None) -> bool | None:
    return None if correct is None else score_answer(answer.text, [correct]) == 1.0


def strip_view(strip: AnswerStrip) -> dict[str, Any]:
    """The strip as plain values, with the sentence that sums it up."""
    held = strip.holds_down_to
    return {**asdict(strip), "holds_down_to": held, "sentence": strip.sentence}
