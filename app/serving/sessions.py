"""The server's state for each user, isolated from all others and bounded in number and bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cachetools import LRUCache
from PIL import Image

from adafv_core.engine.gate import StopSignal
from adafv_core.engine.several_images import dealt_scores
from adafv_core.memory import return_freed_memory, tensor_bytes
from adafv_core.types import Answer, Selection, TokenScores
from app.wire.images import held_bytes
from app.wire.parse import TokenChoice
from app.wire.strips import AnswerStrip
from app.wire.views import ranked

_MOST_SESSIONS = 512
_MOST_FULL = 8
_LARGE_BYTES = 32 << 20


@dataclass
class JobControl:
    """Ends the jobs of one kind, of which a session has one at a time, whether they run or wait.

    stop: set to end the running job. newest: number of the newest job, as the page counts them. stopped: jobs up to
    this number do not begin.
    """

    stop: StopSignal = field(default_factory=StopSignal)
    newest: int = 0
    stopped: int = 0

    def supersede(self, number: int) -> None:
        """Job `number` is on its way: end the running job, and keep earlier ones from beginning."""
        self.newest = max(self.newest, number)
        self.stop.set()

    def stop_through(self, number: int) -> None:
        """End the running job, and keep jobs up to `number` from beginning."""
        self.stopped = max(self.stopped, number)
        self.stop.set()

    def begin(self, number: int = 0, client_gone: StopSignal | None = None) -> StopSignal:
        """End the running job and return the stop signal of the next; already set if that one was stopped or
        superseded before it began. number: 0 for a job that the page does not count. client_gone: set once nobody
        waits for the job any more, which ends it too."""
        self.stop.set()
        self.stop = StopSignal(client_gone) if client_gone else StopSignal()
        if 0 < number <= self.stopped or self.is_superseded(number):
            self.stop.set()
        return self.stop

    def is_superseded(self, number: int) -> bool:
        """Whether a newer job is on its way."""
        return 0 < number < self.newest


@dataclass(frozen=True)
class FromFile:
    """What only a saved run's file has: package versions, and the answers as plain values.

    only_selections: for each of the run's `units` its selection, if the method cannot select again from scores alone.
    """

    versions: Mapping[str, str]
    answers: Mapping[str, Any]
    only_selections: tuple[Selection, ...] = ()


@dataclass
class Run:
    """What a session's page shows, for exports: the last question asked, or a saved run that was opened.

    positions: as in `Request`. revision: commit of the model's files, None for a folder. from_file: set if the run was
    opened from a file. key: of the payload that shows it. max_new_tokens: as requested; None if unknown. subject: model
    and images of its tokens; forced marks apply only to the same subject. more_pictures, more_scores: those of the
    further images of the question. selections: one for each image. share: as in `Request`. together: the scores over
    the tokens of all images, if one budget is shared by several. strip: its answers along the slider, as far
    as measured.
    """

    picture: Image.Image
    scores: TokenScores
    prompt: str
    method: str
    options: dict[str, Any]
    model: str
    positions: str | None = None
    revision: str | None = None
    selections: tuple[Selection, ...] = ()
    pruned: Answer | None = None
    full: Answer | None = None
    from_file: FromFile | None = None
    key: str = ""
    max_new_tokens: int | None = None
    subject: str = ""
    more_pictures: tuple[Image.Image, ...] = ()
    more_scores: tuple[TokenScores, ...] = ()
    share: str = "image"
    together: TokenScores | None = None
    strip: AnswerStrip | None = None

    @property
    def pictures(self) -> tuple[Image.Image, ...]:
        """The pictures of the question, in order."""
        return (self.picture, *self.more_pictures)

    @property
    def all_scores(self) -> tuple[TokenScores, ...]:
        """The scores of each image alone."""
        return (self.scores, *self.more_scores)

    @property
    def units(self) -> tuple[TokenScores, ...]:
        """The scores that the method selects from: of each image, or of all together."""
        return self.all_scores if self.together is None else (self.together,)

    @property
    def selection(self) -> Selection | None:
        """The selection of the first image."""
        return self.selections[0] if self.selections else None

    @property
    def only_selections(self) -> tuple[Selection, ...]:
        """The only selections an opened run can show, if its method cannot select again from scores alone."""
        return self.from_file.only_selections if self.from_file else ()

    def ranked(self) -> tuple[TokenScores, ...]:
        """Each image's scores as the method ranked by them."""
        if self.together is None:
            return tuple(ranked(one, self.options) for one in self.all_scores)
        return dealt_scores(ranked(self.together, self.options), [one.visual for one in self.all_scores])


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a run, and where its slider and marks stood."""

    run: Run
    choice: TokenChoice


@dataclass
class Session:
    """One user's state.

    asking, sweeping, studying, filling, removing, comparing: control of its running question, sweep, study, answer
    strip, causal map and comparison. scores, more_scores: the latest, of the first image and of further ones. full:
    answers from all tokens, by question. pinned: side A of a comparison. shown_key: of the payload that the page shows.
    """

    model: str
    asking: JobControl = field(default_factory=JobControl)
    sweeping: JobControl = field(default_factory=JobControl)
    studying: JobControl = field(default_factory=JobControl)
    filling: JobControl = field(default_factory=JobControl)
    removing: JobControl = field(default_factory=JobControl)
    comparing: JobControl = field(default_factory=JobControl)
    scores: TokenScores | None = None
    more_scores: tuple[TokenScores, ...] = ()
    full: LRUCache[tuple[Any, ...], Answer] = field(default_factory=lambda: LRUCache(_MOST_FULL))
    run: Run | None = None
    pinned: Side | None = None
    shown_key: str = ""

    @property
    def in_background(self) -> tuple[JobControl, ...]:
        """The jobs about the question that is shown, which end with it."""
        return self.filling, self.removing, self.comparing

    def change_model(self, model: str) -> None:
        """Let this model answer from now on; what else runs on the other model ends."""
        if model != self.model:
            for control in (self.sweeping, *self.in_background):
                control.stop.set()
            self.model, self.scores, self.more_scores, self.shown_key = model, None, (), ""

    def end(self) -> None:
        """Stop all of its jobs."""
        for control in (self.asking, self.sweeping, self.studying, *self.in_background):
            control.stop.set()

    def forget(self) -> None:
        """Drop its scores, its run and its answers; its model stays."""
        self.scores = self.run = self.pinned = None
        self.more_scores = ()
        self.full.clear()

    @property
    def size_bytes(self) -> int:
        """Memory of the last scores, the encoded image in them, and the answers and the run that are shown."""
        runs = [run for run in (self.run, self.pinned.run if self.pinned else None) if run is not None]
        shown = [one for run in runs for one in (*run.all_scores, run.together, *run.selections, run.pruned, run.full)]
        pictures = {id(picture): picture for run in runs for picture in run.pictures}
        pixels = sum(map(held_bytes, pictures.values()))
        return pixels + tensor_bytes(self.scores, *self.more_scores, *shown, *self.full.values())


class Sessions:
    """All sessions by id, bounded in number and in bytes; those idle longest are forgotten first."""

    def __init__(self, first_model: str, max_bytes: int) -> None:
        self.first_model = first_model
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        # Not an LRUCache: a session's size changes over time, and one that is too large is emptied but not removed.
        self._by_id: OrderedDict[str, Session] = OrderedDict()

    def of(self, session_id: str | None, model: str = "") -> Session:
        """The session with this id; a caller without one gets a new session that nobody else can reach.

        model: answers in a session that is new or was forgotten; by default the first model.
        """
        new = Session(model or self.first_model)
        if not session_id:
            return new
        with self._lock:
            session = self._by_id.setdefault(session_id, new)
            self._by_id.move_to_end(session_id)
            self._trim()
            return session

    def leave(self, session_id: str | None) -> None:
        """Remove a session and stop its jobs."""
        with self._lock:
            session = self._by_id.pop(session_id or "", None)
        if session is not None:
            session.end()
            large = session.size_bytes > _LARGE_BYTES
            session.forget()
            if large:
                return_freed_memory()

    def __len__(self) -> int:
        return len(self._by_id)

    def _trim(self) -> None:
        while len(self._by_id) > _MOST_SESSIONS:
            self._by_id.popitem(last=False)[1].end()
        held = sum(session.size_bytes for session in self._by_id.values())
        for session in list(self._by_id.values())[:-1]:
            if held <= self.max_bytes:
                return
            held -= session.size_bytes
            session.forget()
