"""Answers questions for sessions: scores, selections and answers as values, independent of the page and the API."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from adafv_core.engine.gate import Gate, StopSignal
from adafv_core.engine.request import Request
from adafv_core.engine.several_images import check_several, dealt, joined_scores
from adafv_core.errors import BudgetError, ModelError, StoppedError
from adafv_core.images import Picture, read_picture
from adafv_core.memory import return_freed_memory
from adafv_core.methods import METHODS
from adafv_core.methods.inside import InsideMethod
from adafv_core.types import Answer, Selection, TokenScores
from app.serving.models import ModelPool, may_load
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
    """One checked question. more: further pictures, which stand after the first in the prompt."""

    picture: Picture
    prompt: str
    method: str
    choice: TokenChoice
    settings: AskSettings
    more: tuple[Picture, ...] = ()

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All of its pictures, in order."""
        return (self.picture, *self.more)

    @property
    def picture_keys(self) -> tuple[str, ...]:
        """The keys of their contents."""
        return tuple(one.key for one in self.pictures)


@dataclass(frozen=True)
class AnswerProgress:
    """An answer so far. state: waiting, running, done, stopped or error."""

    answer: Answer | None
    state: str
    error: str = ""


@dataclass
class Service:
    """Answers questions. scene_of: the index of the drawn scene with this picture's key; None for other pictures.
    background: jobs that nobody waits for pass it before they wait for the model, so that a question waits for at most
    one of them.
    """

    pool: ModelPool
    sessions: Sessions
    settings: Settings
    scene_of: Callable[[str], int | None]
    background: Gate = field(default_factory=Gate)

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
        known = state.model in self.pool.loaded() or may_load(state.model, self.settings)
        return self.sessions.of(session_id, state.model if known else "")

    def score(self, session: Session, request: AskRequest, stop: StopSignal | None = None) -> Run:
        """Encode and score, unless the session's last scores are those. Raises StoppedError while it waits."""
        engine = self.pool.engine(session.model)
        held = () if session.scores is None else (session.scores, *session.more_scores)
        same_images = tuple(one.visual.picture_key for one in held) == request.picture_keys
        if stop is not None and stop.is_set():
            raise StoppedError("The question was stopped before it began; ask again.")
        if not same_images or held[0].prompt != request.prompt:
            images = [one.visual for one in held] if same_images else request.pictures
            if request.more:
                held = tuple(engine.score_many(images, request.prompt, stop=stop))
            else:
                held = (engine.score(images[0], request.prompt, stop=stop),)
            session.scores, session.more_scores = held[0], held[1:]
        share = request.settings.share
        return Run(
            picture=request.picture.image,
            scores=held[0],
            prompt=request.prompt,
            method=request.method,
            options=request.settings.options_for(request.method),
            model=session.model,
            positions=request.settings.positions_asked,
            revision=engine.revision,
            max_new_tokens=request.settings.max_new_tokens,
            subject=subject_of(session.model, request.picture_keys, sum(one.size for one in held)),
            more_pictures=tuple(one.image for one in request.more),
            more_scores=held[1:],
            share=share,
            together=joined_scores(held) if share == "all" and request.more else None,
        )

    def select(self, run: Run, choice: TokenChoice, stop: StopSignal | None = None) -> tuple[Selection, ...]:
        """The selection of each of a run's images at this choice. It asks the model only if the method runs inside the
        LLM. Raises BudgetError for another budget of an opened run that cannot select again, InputError for marks on
        several images.
        """
        masks = choice.masks(run.scores.size) if run.method == "adafv" else {}
        request = self._request(run, masks, keep_ratio=choice.keep_ratio)
        check_several(request, len(run.pictures))
        made = run.only_selections
        if any(one.budget != request.budget_of(unit.size) for one, unit in zip(made, run.units, strict=False)):
            raise BudgetError(OWN_RATIO_ONLY)
        if not made and request.chooser.inside_llm:
            made = self._by_the_model(run, request, stop)
        made = made or tuple(request.select(unit) for unit in run.units)
        return made if run.together is None else tuple(dealt(made[0], [one.visual for one in run.all_scores]))

    def selectors(
        self, run: Run, keep_ratio: float, stop: StopSignal | None = None
    ) -> list[Callable[[int], Selection]]:
        """For each of a run's `units`, how its method selects for a budget.

        A method inside the LLM asks the model now, and always gives what it said: for one token if its ranking is that
        of every budget, else for keep_ratio.
        """
        if METHODS[run.method].inside_llm:
            ranks_once = issubclass(METHODS[run.method], InsideMethod) and METHODS[run.method].one_ranking
            request = self._request(run, {}, **{"budget": 1} if ranks_once else {"keep_ratio": keep_ratio})
            made = self._by_the_model(run, request, stop)
            return [lambda _, selection=selection: selection for selection in made]

        def of(unit: TokenScores) -> Callable[[int], Selection]:
            return lambda budget: self._request(run, {}, budget=budget).select(unit)

        return [of(unit) for unit in run.units]

    def _by_the_model(self, run: Run, request: Request, stop: StopSignal | None) -> tuple[Selection, ...]:
        engine = self.pool.engine(run.model)
        if not run.more_scores:
            return (engine.select(run.scores, request, stop=stop),)
        return tuple(engine.select_many(run.all_scores, request, stop=stop))

    def _request(self, run: Run, masks: Mapping[str, Any], **fields: Any) -> Request:
        return Request(run.method, {**run.options, **masks}, positions=run.positions, share=run.share, **fields)

    def request_at(self, run: Run, choice: TokenChoice, max_new_tokens: int) -> Request:
        """What is asked of the model to answer with what a run keeps at this choice."""
        choice = choice.about(run.subject)
        masks = choice.masks(run.scores.size) if run.method == "adafv" else {}
        return self._request(run, masks, keep_ratio=choice.keep_ratio, max_new_tokens=max_new_tokens)

    def stream(self, run: Run, request: AskRequest, stop: StopSignal, method: str) -> Iterator[AnswerProgress]:
        """One answer of a run, at most UPDATES_PER_S values a second; the last says how it ended.

        method: the run's own, or "full". Times include scoring and selecting; the image was encoded for the maps.
        """
        longest = request.settings.max_new_tokens
        if method == "full":
            asked = Request("full", keep_ratio=1.0, max_new_tokens=longest)
        else:
            asked = self.request_at(run, request.choice, longest)
        images = [replace(one, encode_s=0.0) for one in run.all_scores]
        answer: Answer | None = None
        try:
            shown_at_s = 0.0
            for answer in self.pool.engine(run.model).stream(images, None, asked, stop=stop):
                if time.perf_counter() - shown_at_s >= 1 / UPDATES_PER_S:
                    shown_at_s = time.perf_counter()
                    yield AnswerProgress(answer, "running")
            yield AnswerProgress(answer, "done" if answer is not None and answer.finished else "stopped")
        except StoppedError:
            yield AnswerProgress(answer, "stopped")
        except Exception as error:
            yield AnswerProgress(None, "error", sentence(error))

    def selected(
        self, session: Session, request: AskRequest, client_gone: StopSignal | None = None
    ) -> tuple[Run, Selection]:
        """A run with its selections, and that of its first image, without an answer. client_gone: as in
        `JobControl.begin`.
        """
        stop = session.asking.begin(client_gone=client_gone)
        run = self.score(session, request, stop)
        run.selections = self.select(run, request.choice, stop)
        return run, run.selections[0]

    def answered(
        self, session: Session, request: AskRequest, client_gone: StopSignal | None = None
    ) -> tuple[Run, Selection, Answer]:
        """`selected` and the whole answer; if requested, also the answer from all tokens (`run.full`)."""
        stop = session.asking.begin(client_gone=client_gone)
        run = self.score(session, request, stop)
        run.selections = self.select(run, request.choice, stop)
        run.pruned = pruned = self.answer(run, request, stop, run.method)
        run.full = self.answer(run, request, stop, "full") if request.settings.with_full else None
        return run, run.selections[0], pruned

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


def subject_of(model: str, picture_keys: Sequence[str], n: int) -> str:
    """Identifies the model and images of N tokens: marks on them are valid for these only."""
    return f"{model}/{'+'.join(picture_keys)}/{n}"
