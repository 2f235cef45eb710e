"""What happens when someone asks: plain functions from inputs to values, no layout."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from adafv_core.checks import budget_from_keep_ratio
from adafv_core.errors import BudgetError, InputError, ModelError
from adafv_core.methods import METHODS, get_method
from adafv_core.types import Answer, Selection
from app.serving.jobs import Bench, Engine, Stopped
from app.serving.models import ModelPool
from app.serving.scenes import picture_key
from app.serving.sessions import Run, Session, Sessions
from app.settings import Settings
from app.wire.errors import sentence
from app.wire.images import open_image
from app.wire.parse import AskSettings, Shown, TokenChoice
from app.wire.payload import OWN_RATIO_ONLY, payload
from app.wire.views import answer_view, answers_text, compare, measured, notice, ranked, scores_view

UPDATES_PER_S = 15
FOREIGN = (
    "The pocket model knows drawn scenes only: colored shapes and numbered cards. On any other picture its maps and "
    "answers mean little. Choose a real model under More › Model to ask about photographs."
)


@dataclass(frozen=True)
class AskRequest:
    """One checked request."""

    picture: Image.Image
    picture_key: str
    prompt: str
    method: str
    choice: TokenChoice
    more: AskSettings


@dataclass
class Service:
    """Everything the page's functions share. known_pictures: keys of pictures from the pocket model's world."""

    pool: ModelPool
    bench: Bench
    sessions: Sessions
    settings: Settings
    known_pictures: Callable[[str], bool]

    def picture(self, path: Path | str | None) -> tuple[Image.Image, str]:
        """The checked picture of an upload and the key of its content."""
        picture = open_image(path, self.settings)
        return picture, picture_key(picture)

    def score(self, session: Session, question: AskRequest, stop: threading.Event | None = None) -> Run:
        """Encode and score, unless this visitor's picture and prompt already are; waits for the model."""
        engine = self.pool.engine(session.model)
        key = f"{session.model}/{question.picture_key}"
        with self.bench.turn(stop):
            before = session.scored[1] if session.scored is not None and session.scored[0] == key else None
            scores = before
            if scores is None or scores.prompt != question.prompt:
                scores = engine.score(before.visual if before else question.picture, question.prompt)
                session.scored = (key, scores)
        options = question.more.options_for(question.method)
        revision = getattr(engine, "revision", None)
        return Run(
            question.picture,
            scores,
            question.prompt,
            question.method,
            options,
            session.model,
            revision,
            max_new_tokens=question.more.max_new_tokens,
            subject=subject_of(key, scores.size),
        )

    def select(self, run: Run, choice: TokenChoice, stop: threading.Event | None = None) -> Selection:
        """The selection of a run at the slider's place."""
        masks = choice.masks(run.scores.size) if run.method == "adafv" else {}
        budget = budget_from_keep_ratio(choice.keep_ratio, run.scores.size)
        with self._selecting(run, stop) as select:
            return select(budget=budget, **masks)

    def payload(self, run: Run, choice: TokenChoice, key: str, stop: threading.Event | None = None) -> str:
        """What the browser needs for this run; it takes over the slider's place and the marks of an opened one."""
        forced = (choice.force_keep, choice.force_drop) if run.from_file else None
        with self._selecting(run, stop) as select:
            return payload(
                run.scores,
                run.picture,
                lambda budget: select(budget=budget),
                run.method,
                run.options,
                choice.keep_ratio,
                key,
                run.subject,
                forced,
                run.only_selection,
            )

    @contextmanager
    def _selecting(self, run: Run, stop: threading.Event | None) -> Iterator[Callable[..., Selection]]:
        """How this run's method selects; the model is held and asked only where the method chooses inside it.

        An opened run that cannot choose again has its own selection, and raises BudgetError for every other budget.
        """
        own = run.only_selection
        if own is not None:
            yield partial(_of_budget, own)
        elif METHODS[run.method].inside_llm:
            engine = self.pool.engine(run.model)
            with self.bench.turn(stop):
                yield partial(engine.select, run.scores, method=run.method, **run.options)
        else:
            yield lambda budget, **masks: get_method(run.method, **run.options, **masks).select(run.scores, budget)

    def session(self, session_id: str | None, shown: Shown) -> Session:
        """The session with this id; one the server has forgotten goes on with the model that its page names."""
        known = shown.model in self.pool.loaded() or self.settings.model_menu
        return self.sessions.of(session_id, shown.model if known else "")

    def ask(
        self, session: Session, question: AskRequest, number: int = 0
    ) -> Iterator[tuple[str | None, str, str | None]]:
        """The page's stream: (payload or None, answers, notice or None). The maps come before the first token.

        number: of this question, as the page counts them; every text carries it back. What the notice says stands
        with the maps; from then on the line belongs to whatever else happens on the page.
        """
        stop = session.begin(number)
        said = partial(answers_text, method=question.method, asked=number)
        more = question.more
        try:
            run = self.score(session, question, stop)
            if 0 < number < session.asked:
                raise Stopped
            question = replace(question, choice=question.choice.about(run.subject))
            run.key = _content_key(session.model, question)
            problem = self._selected(run, question.choice, stop)
            shown = self.payload(run, question.choice, run.key, stop) if run.key != session.shown_key else None
        except Stopped:
            stopped = answer_view(None, "stopped")
            yield None, said(stopped, stopped if more.compare else None), None
            return
        except Exception as error:
            yield None, said(answer_view(None, "error", sentence(error)), None), notice()
            return
        session.run, session.shown_key = run, run.key
        foreign = session.model == "pocket" and not self.known_pictures(question.picture_key)
        full_key = (session.model, question.picture_key, question.prompt, more.max_new_tokens)
        run.full = session.full.get(full_key) if more.compare else None
        waiting = answer_view(None, "waiting")
        pruned = answer_view(None, "error", problem) if problem else waiting
        full = answer_view(run.full, "done") if run.full else waiting if more.compare else None
        yield shown, said(pruned, full), notice(FOREIGN if foreign else "")

        for answer, pruned in [] if problem else self._stream(run, question, stop, run.method):
            run.pruned = answer
            yield None, said(pruned, full), None
        if full is waiting and not stop.is_set():
            for answer, full in self._stream(run, question, stop, "full"):
                run.full = answer
                yield None, said(pruned, full), None
            if run.full is not None and full["state"] == "done":
                session.remember_full(full_key, run.full)
        elif full is waiting:
            full = answer_view(None, "stopped")
        yield None, said(pruned, full, compare(run.pruned, run.full)), None

    def _selected(self, run: Run, choice: TokenChoice, stop: threading.Event) -> str:
        """Select for the run; the sentence that says why nothing can be, which leaves the answer on all tokens."""
        try:
            run.selection = self.select(run, choice, stop)
        except InputError as error:
            return str(error)
        return ""

    def _stream(
        self, run: Run, question: AskRequest, stop: threading.Event, method: str
    ) -> Iterator[tuple[Answer | None, dict[str, Any]]]:
        """Snapshots of one answer. The engine scores and chooses anew, so that its times hold all of the work."""
        engine = self.pool.engine(run.model)
        options = {"keep_ratio": 1.0} if method == "full" else _options(run, question.choice)
        answer: Answer | None = None

        def job() -> Iterator[Answer]:
            return engine.stream(
                run.scores.visual,
                question.prompt,
                method=method,
                max_new_tokens=question.more.max_new_tokens,
                stop=stop,
                **options,
            )

        try:
            shown_at = 0.0
            for answer in self.bench.run(job, stop):
                if time.perf_counter() - shown_at >= 1 / UPDATES_PER_S:
                    shown_at = time.perf_counter()
                    yield answer, answer_view(answer, "running")
            done = answer is not None and answer.finished
            yield answer, answer_view(answer, "done" if done else "stopped")
        except Stopped:
            yield answer, answer_view(answer, "stopped")
        except Exception as error:
            yield None, answer_view(None, "error", sentence(error))

    def chosen(self, session: Session, question: AskRequest) -> tuple[Run, Selection]:
        """A run that is not answered, and its selection."""
        stop = session.begin()
        run = self.score(session, question, stop)
        return run, self.select(run, question.choice, stop)

    def answered(self, session: Session, question: AskRequest, with_full: bool) -> tuple[Run, Selection, Answer]:
        """A run with its selection and its whole answer, also on all tokens where asked for (`run.full`)."""
        stop = session.begin()
        run = self.score(session, question, stop)
        run.selection = selection = self.select(run, question.choice, stop)
        run.pruned = pruned = self.whole(run, question, stop, run.method)
        run.full = self.whole(run, question, stop, "full") if with_full else None
        return run, selection, pruned

    def answer(self, session: Session, question: AskRequest, with_full: bool) -> dict[str, Any]:
        """The whole answer as one value (the `/ask` endpoint)."""
        run, selection, pruned = self.answered(session, question, with_full)
        return {
            "answer": pruned.text,
            "full_answer": run.full.text if run.full else None,
            "method": run.method,
            "model": run.model,
            "keep_ratio": question.choice.keep_ratio,
            "options": run.options,
            "k_text": selection.k_text,
            "k_visual": selection.k_visual,
            **measured(pruned),
            "full": measured(run.full) if run.full else None,
            **compare(pruned, run.full),
        }

    def scores(self, session: Session, question: AskRequest) -> dict[str, Any]:
        """Scores and selection without an answer (the `/scores` endpoint)."""
        run, selection = self.chosen(session, question)
        return scores_view(ranked(run.scores, run.options), selection)

    def whole(self, run: Run, question: AskRequest, stop: threading.Event, method: str) -> Answer:
        """The last snapshot of an answer. Raises ModelError where there is none."""
        last: Answer | None = None
        for answer, view in self._stream(run, question, stop, method):
            last = answer
            if view["state"] == "error":
                raise ModelError(view["error"])
        if last is None:
            raise ModelError("The request was stopped before it was answered: send it again.")
        return last


def engine_name(engine: Engine) -> str:
    """How an engine calls its model."""
    return str(getattr(engine, "name", "model"))


def subject_of(model_and_picture: str, n: int) -> str:
    """What N tokens are of: marks on them belong to this model and this picture."""
    return f"{model_and_picture}/{n}"


def _options(run: Run, choice: TokenChoice) -> dict[str, Any]:
    """How a run's method chooses at the slider's place, as arguments of the engine."""
    marks = choice.masks(run.scores.size) if run.method == "adafv" else {}
    return {"keep_ratio": choice.keep_ratio, **run.options, **marks}


def _of_budget(own: Selection, budget: int) -> Selection:
    if budget != own.budget:
        raise BudgetError(OWN_RATIO_ONLY)
    return own


def _content_key(model: str, question: AskRequest) -> str:
    more = sorted(question.more.options_for(question.method).items())
    text = repr((model, question.picture_key, question.prompt, question.method, more))
    return hashlib.sha256(text.encode()).hexdigest()[:24]
