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
from adafv_core.memory import return_freed_memory, tensor_bytes
from adafv_core.types import Answer, Selection, TokenScores
from app.wire.images import held_bytes

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

    def begin(self, number: int = 0) -> StopSignal:
        """End the running job and return the stop signal of the next; already set if that one was stopped or
        superseded before it began. number: 0 for a job that the page does not count."""
        self.stop.set()
        self.stop = StopSignal()
        if 0 < number <= self.stopped or self.is_superseded(number):
            self.stop.set()
        return self.stop

    def is_superseded(self, number: int) -> bool:
        """Whether a newer job is on its way."""
        return 0 < number < self.newest


@dataclass(frozen=True)
class FromFile:
    """What only a saved run's file has: package versions, and the answers as plain values.

    only_selection: its selection, if the method cannot select again from scores alone.
    """

    versions: Mapping[str, str]
    answers: Mapping[str, Any]
    only_selection: Selection | None = None


@dataclass
class Run:
    """What a session's page shows, for exports: the last question asked, or a saved run that was opened.

    positions: as in `Request`. revision: commit of the model's files, None for a folder. from_file: set if the run was
    opened from a file. key: of the payload that shows it. max_new_tokens: as requested; None if unknown. subject: model
    and image of its tokens; forced marks apply only to the same subject.
    """

    picture: Image.Image
    scores: TokenScores
    prompt: str
    method: str
    options: dict[str, Any]
    model: str
    positions: str | None = None
    revision: str | None = None
    selection: Selection | None = None
    pruned: Answer | None = None
    full: Answer | None = None
    from_file: FromFile | None = None
    key: str = ""
    max_new_tokens: int | None = None
    subject: str = ""

    @property
    def only_selection(self) -> Selection | None:
        """The one selection an opened run can show, if its method cannot select again from scores alone."""
        return self.from_file.only_selection if self.from_file else None


@dataclass
class Session:
    """One user's state.

    asking, sweeping, studying: control of its running question, sweep and study. scores: the latest. full: answers
    from all tokens, by question. shown_key: of the payload that the page shows.
    """

    model: str
    asking: JobControl = field(default_factory=JobControl)
    sweeping: JobControl = field(default_factory=JobControl)
    studying: JobControl = field(default_factory=JobControl)
    scores: TokenScores | None = None
    full: LRUCache[tuple[Any, ...], Answer] = field(default_factory=lambda: LRUCache(_MOST_FULL))
    run: Run | None = None
    shown_key: str = ""

    def change_model(self, model: str) -> None:
        """Let this model answer from now on; a running sweep of another model ends."""
        if model != self.model:
            self.sweeping.stop.set()
            self.model, self.scores, self.shown_key = model, None, ""

    def end(self) -> None:
        """Stop all of its jobs."""
        for control in (self.asking, self.sweeping, self.studying):
            control.stop.set()

    def forget(self) -> None:
        """Drop its scores, its run and its answers; its model stays."""
        self.scores = self.run = None
        self.full.clear()

    @property
    def size_bytes(self) -> int:
        """Memory of the last scores, the encoded image in them, and the answers and the run that are shown."""
        run = self.run
        shown = () if run is None else (run.scores, run.selection, run.pruned, run.full)
        pixels = 0 if run is None else held_bytes(run.picture)
        return pixels + tensor_bytes(self.scores, *shown, *self.full.values())


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
