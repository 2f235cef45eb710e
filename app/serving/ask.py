"""Answers questions for sessions: scores, selections and answers as values. Knows neither the page nor the API."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from adafv_core.checks import budget_from_keep_ratio
from adafv_core.errors import BudgetError, ModelError
from adafv_core.methods import METHODS, get_method
from adafv_core.types import Answer, Selection
from app.serving.jobs import Bench, Stopped
from app.serving.models import ModelPool
from app.serving.scenes import picture_key
from app.serving.sessions import Run, Session, Sessions
from app.settings import Settings
from app.wire.errors import sentence
from app.wire.images import open_image
from app.wire.parse import AskSettings, PageState, TokenChoice
from app.wire.payload import OWN_RATIO_ONLY

UPDATES_PER_S = 15


@dataclass(frozen=True)
class AskRequest:
    """One checked question. picture_key: names the picture's content."""

    picture: Image.Image
    picture_key: str
    prompt: str
    method: str
    choice: TokenChoice
    settings: AskSettings


@dataclass(frozen=True)
class AnswerProgress:
    """One answer as far as it has come. state: waiting, running, done, stopped or error."""

    answer: Answer | None
    state: str
    error: str = ""


@dataclass
class Service:
    """What answers. is_known_scene: whether a picture key is of a scene from the pocket model's world."""

    pool: ModelPool
    bench: Bench
    sessions: Sessions
    settings: Settings
    is_known_scene: Callable[[str], bool]

    def picture(self, path: Path | str | None) -> tuple[Image.Image, str]:
        """The checked picture of an upload and the key of its content."""
        picture = open_image(path, self.settings)
        return picture, picture_key(picture)

    def session(self, session_id: str | None, state: PageState) -> Session:
        """The session with this id; one that the server has forgotten continues with the model that its page names."""
        known = state.model in self.pool.loaded() or self.settings.model_menu
        return self.sessions.of(session_id, state.model if known else "")

    def score(self, session: Session, request: AskRequest, stop: threading.Event | None = None) -> Run:
        """Encode and score, unless this session's image and prompt already are; waits for the model."""
        engine = self.pool.engine(session.model)
        key = f"{session.model}/{request.picture_key}"
        with self.bench.turn(stop):
            before = session.scored[1] if session.scored is not None and session.scored[0] == key else None
            scores = before
            if scores is None or scores.prompt != request.prompt:
                scores = engine.score(before.visual if before else request.picture, request.prompt)
                session.scored = (key, scores)
        return Run(
            picture=request.picture,
            scores=scores,
            prompt=request.prompt,
            method=request.method,
            options=request.settings.options_for(request.method),
            model=session.model,
            revision=engine.revision,
            max_new_tokens=request.settings.max_new_tokens,
            subject=subject_of(key, scores.size),
        )

    def select(self, run: Run, choice: TokenChoice, stop: threading.Event | None = None) -> Selection:
        """A run's selection at this choice."""
        masks = choice.masks(run.scores.size) if run.method == "adafv" else {}
        budget = budget_from_keep_ratio(choice.keep_ratio, run.scores.size)
        with self.selecting(run, stop) as select:
            return select(budget, **masks)

    @contextmanager
    def selecting(self, run: Run, stop: threading.Event | None) -> Iterator[Callable[..., Selection]]:
        """Yields how this run's method selects for a budget; the model is held only for a method that runs inside it.

        An opened run that cannot select again has its saved selection, and raises BudgetError for other budgets.
        """
        own = run.only_selection
        if own is not None:

            def select(budget: int, **masks: Any) -> Selection:
                if budget != own.budget:
                    raise BudgetError(OWN_RATIO_ONLY)
                return own

            yield select
        elif METHODS[run.method].inside_llm:
            engine = self.pool.engine(run.model)
            with self.bench.turn(stop):
                yield lambda budget: engine.select(run.scores, budget=budget, method=run.method, **run.options)
        else:
            yield lambda budget, **masks: get_method(run.method, **run.options, **masks).select(run.scores, budget)

    def stream(self, run: Run, request: AskRequest, stop: threading.Event, method: str) -> Iterator[AnswerProgress]:
        """One answer of a run, at most UPDATES_PER_S values a second; the last says how it ended.

        method: the run's own, or "full". The engine scores and selects again, so that its times cover all the work.
        """
        engine = self.pool.engine(run.model)
        marks = request.choice.masks(run.scores.size) if run.method == "adafv" else {}
        options = (
            {"keep_ratio": 1.0}
            if method == "full"
            else {"keep_ratio": request.choice.keep_ratio, **run.options, **marks}
        )

        def job() -> Iterator[Answer]:
            return engine.stream(
                run.scores.visual,
                request.prompt,
                method=method,
                max_new_tokens=request.settings.max_new_tokens,
                stop=stop,
                **options,
            )

        answer: Answer | None = None
        try:
            shown_at = 0.0
            for answer in self.bench.run(job, stop):
                if time.perf_counter() - shown_at >= 1 / UPDATES_PER_S:
                    shown_at = time.perf_counter()
                    yield AnswerProgress(answer, "running")
            done = answer is not None and answer.finished
            yield AnswerProgress(answer, "done" if done else "stopped")
        except Stopped:
            yield AnswerProgress(answer, "stopped")
        except Exception as error:
            yield AnswerProgress(None, "error", sentence(error))

    def selected(self, session: Session, request: AskRequest) -> tuple[Run, Selection]:
        """A run and its selection, without an answer."""
        stop = session.asking.begin()
        run = self.score(session, request, stop)
        return run, self.select(run, request.choice, stop)

    def answered(self, session: Session, request: AskRequest) -> tuple[Run, Selection, Answer]:
        """A run, its selection and its whole answer; with the one on all tokens (`run.full`) where it is asked for."""
        stop = session.asking.begin()
        run = self.score(session, request, stop)
        run.selection = selection = self.select(run, request.choice, stop)
        run.pruned = pruned = self.answer(run, request, stop, run.method)
        run.full = self.answer(run, request, stop, "full") if request.settings.with_full else None
        return run, selection, pruned

    def answer(self, run: Run, request: AskRequest, stop: threading.Event, method: str) -> Answer:
        """The last value of `stream`. Raises ModelError if there is none."""
        last: Answer | None = None
        for progress in self.stream(run, request, stop, method):
            last = progress.answer
            if progress.state == "error":
                raise ModelError(progress.error)
        if last is None:
            raise ModelError("The request was stopped before it was answered: send it again.")
        return last


def subject_of(model_and_picture: str, n: int) -> str:
    """What N tokens belong to: marks on them are valid for this model and this picture only."""
    return f"{model_and_picture}/{n}"
