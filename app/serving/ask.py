"""Answers questions for sessions: scores, selections and answers as values, independent of the page and the API."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adafv_core.checks import budget_from_keep_ratio
from adafv_core.engine.gate import StopSignal
from adafv_core.engine.request import Request
from adafv_core.errors import BudgetError, ModelError, StoppedError
from adafv_core.images import Picture, read_picture
from adafv_core.memory import return_freed_memory
from adafv_core.methods import METHODS
from adafv_core.types import Answer, Selection
from app.serving.models import ModelPool
from app.serving.sessions import Run, Session, Sessions
from app.settings import Settings
from app.wire.errors import sentence
from app.wire.images import open_image
from app.wire.parse import AskSettings, PageState, TokenChoice
from app.wire.payload import OWN_RATIO_ONLY

UPDATES_PER_S = 15
LARGE_PIXELS = 4_000_000
"""After a picture of more pixels than this was decoded, memory that decoding has freed goes back to the system."""


@dataclass(frozen=True)
class AskRequest:
    """One checked question."""

    picture: Picture
    prompt: str
    method: str
    choice: TokenChoice
    settings: AskSettings


@dataclass(frozen=True)
class AnswerProgress:
    """An answer so far. state: waiting, running, done, stopped or error."""

    answer: Answer | None
    state: str
    error: str = ""


@dataclass
class Service:
    """Answers questions. scene_of: the index of the drawn scene with this picture's key; None for other pictures."""

    pool: ModelPool
    sessions: Sessions
    settings: Settings
    scene_of: Callable[[str], int | None]

    def picture(self, path: Path | str | None, model: str = "", size: tuple[int, int] | None = None) -> Picture:
        """The checked picture of an upload, with the key of its content.

        model: the one that is asked about it, if loaded: a picture far larger than it can use is reduced. size: that of
        the reduced picture in a saved run.
        """
        kept = self.pool.engine(model).kept_pixels if model in self.pool.loaded() else None
        picture = read_picture(open_image(path, self.settings, kept, size))
        if picture.image.width * picture.image.height > LARGE_PIXELS:
            return_freed_memory()
        return picture

    def session(self, session_id: str | None, state: PageState) -> Session:
        """The session with this id; one that the server has forgotten continues with the model that its page names."""
        known = state.model in self.pool.loaded() or self.settings.model_menu
        return self.sessions.of(session_id, state.model if known else "")

    def score(self, session: Session, request: AskRequest, stop: StopSignal | None = None) -> Run:
        """Encode and score, unless the session's last scores are those. Raises StoppedError while it waits."""
        engine = self.pool.engine(session.model)
        scores = session.scores
        same_image = scores is not None and scores.visual.image_key == request.picture.key
        if stop is not None and stop.is_set():
            raise StoppedError("The question was stopped before it began; ask again.")
        if scores is None or not same_image or scores.prompt != request.prompt:
            image = scores.visual if scores is not None and same_image else request.picture
            session.scores = scores = engine.score(image, request.prompt, stop=stop)
        return Run(
            picture=request.picture.image,
            scores=scores,
            prompt=request.prompt,
            method=request.method,
            options=request.settings.options_for(request.method),
            model=session.model,
            positions=request.settings.positions_asked,
            revision=engine.revision,
            max_new_tokens=request.settings.max_new_tokens,
            subject=subject_of(session.model, request.picture.key, scores.size),
        )

    def select(self, run: Run, choice: TokenChoice, stop: StopSignal | None = None) -> Selection:
        """A run's selection at this choice."""
        masks = choice.masks(run.scores.size) if run.method == "adafv" else {}
        budget = budget_from_keep_ratio(choice.keep_ratio, run.scores.size)
        return self.selector(run, stop)(budget, **masks)

    def selector(self, run: Run, stop: StopSignal | None = None) -> Callable[..., Selection]:
        """How this run's method selects for a budget; it asks the model only if the method runs inside the LLM.

        An opened run that cannot select again has its saved selection, and raises BudgetError for other budgets.
        """
        own = run.only_selection

        def select(budget: int, **masks: Any) -> Selection:
            if own is not None:
                if budget != own.budget:
                    raise BudgetError(OWN_RATIO_ONLY)
                return own
            request = Request(run.method, {**run.options, **masks}, budget=budget, positions=run.positions)
            if METHODS[run.method].inside_llm:
                return self.pool.engine(run.model).select(run.scores, request, stop=stop)
            return request.select(run.scores)

        return select

    def stream(self, run: Run, request: AskRequest, stop: StopSignal, method: str) -> Iterator[AnswerProgress]:
        """One answer of a run, at most UPDATES_PER_S values a second; the last says how it ended.

        method: the run's own, or "full". Times include scoring and selecting; the image was encoded for the maps.
        """
        longest = request.settings.max_new_tokens
        if method == "full":
            asked = Request("full", keep_ratio=1.0, max_new_tokens=longest)
        else:
            marks = request.choice.masks(run.scores.size) if run.method == "adafv" else {}
            options = {**run.options, **marks}
            keep_ratio = request.choice.keep_ratio
            asked = Request(method, options, keep_ratio=keep_ratio, max_new_tokens=longest, positions=run.positions)
        answer: Answer | None = None
        try:
            shown_at_s = 0.0
            for answer in self.pool.engine(run.model).stream(replace(run.scores, encode_s=0.0), None, asked, stop=stop):
                if time.perf_counter() - shown_at_s >= 1 / UPDATES_PER_S:
                    shown_at_s = time.perf_counter()
                    yield AnswerProgress(answer, "running")
            yield AnswerProgress(answer, "done" if answer is not None and answer.finished else "stopped")
        except StoppedError:
            yield AnswerProgress(answer, "stopped")
        except Exception as error:
            yield AnswerProgress(None, "error", sentence(error))

    def selected(self, session: Session, request: AskRequest) -> tuple[Run, Selection]:
        """A run and its selection, without an answer."""
        stop = session.asking.begin()
        run = self.score(session, request, stop)
        return run, self.select(run, request.choice, stop)

    def answered(self, session: Session, request: AskRequest) -> tuple[Run, Selection, Answer]:
        """A run, its selection and its whole answer; if requested, also the answer from all tokens (`run.full`)."""
        stop = session.asking.begin()
        run = self.score(session, request, stop)
        run.selection = selection = self.select(run, request.choice, stop)
        run.pruned = pruned = self.answer(run, request, stop, run.method)
        run.full = self.answer(run, request, stop, "full") if request.settings.with_full else None
        return run, selection, pruned

    def answer(self, run: Run, request: AskRequest, stop: StopSignal, method: str) -> Answer:
        """The last value of `stream`. Raises ModelError if there is none."""
        last: Answer | None = None
        for progress in self.stream(run, request, stop, method):
            last = progress.answer
            if progress.state == "error":
                raise ModelError(progress.error)
        if last is None:
            raise ModelError("The request was stopped before it was answered: send it again.")
        return last


def subject_of(model: str, image_key: str, n: int) -> str:
    """Identifies the model and image of N tokens: marks on them are valid for these only."""
    return f"{model}/{image_key}/{n}"
