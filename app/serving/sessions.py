"""What the server remembers of each visitor, apart from all others, bounded in number and bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from PIL import Image
from torch import Tensor

from adafv_core.types import Answer, Selection, TokenScores

_MOST_VISITS = 512


@dataclass
class JobControl:
    """Ends the jobs of one kind, of which a session has one at a time, whether they run or wait.

    stop: set to end the running job. newest: number of the newest job, as the page counts them. stopped: jobs up to
    this number do not begin.
    """

    stop: threading.Event = field(default_factory=threading.Event)
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

    def begin(self, number: int = 0) -> threading.Event:
        """End the running job and return the stop signal of the next; already set if that one was stopped or
        superseded before it began. number: 0 for a job that the page does not count."""
        self.stop.set()
        self.stop = threading.Event()
        if 0 < number <= self.stopped or self.is_superseded(number):
            self.stop.set()
        return self.stop

    def is_superseded(self, number: int) -> bool:
        """Whether a newer job is on its way."""
        return 0 < number < self.newest


@dataclass(frozen=True)
class FromFile:
    """What only a saved run's file knows: package versions, and the answers as plain values.

    only_selection: its selection, if the method cannot select again from scores alone.
    """

    versions: Mapping[str, str]
    answers: Mapping[str, Any]
    only_selection: Selection | None = None


@dataclass
class Run:
    """What a visitor's page shows, for exports: the last question asked, or a saved run that was opened.

    revision: commit of the model's files, None for a folder. from_file: where the run was opened, not asked. key: of
    the payload that shows it. max_new_tokens: as asked; None where it is not known. subject: names what its tokens
    are of, model and picture, so that marks on them are told from others'.
    """

    picture: Image.Image
    scores: TokenScores
    prompt: str
    method: str
    options: dict[str, Any]
    model: str
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

    asking, sweeping, studying: control of its running question, sweep and study. scored: the last scores, with the key
    of their image (the model's name in it). full: answers on all tokens, by what they answer. shown_key: of the
    payload that the page shows.
    """

    model: str
    asking: JobControl = field(default_factory=JobControl)
    sweeping: JobControl = field(default_factory=JobControl)
    studying: JobControl = field(default_factory=JobControl)
    scored: tuple[str, TokenScores] | None = None
    full: OrderedDict[tuple[Any, ...], Answer] = field(default_factory=OrderedDict)
    run: Run | None = None
    shown_key: str = ""

    def change_model(self, model: str) -> None:
        """This model answers from now on; a sweep of another one ends."""
        if model != self.model:
            self.sweeping.stop.set()
            self.model, self.scored, self.shown_key = model, None, ""

    def remember_full(self, key: tuple[Any, ...], answer: Answer) -> None:
        """Keep an answer on all tokens, so that moving the slider does not ask it again."""
        self.full[key] = answer
        while len(self.full) > 8:
            self.full.popitem(last=False)

    def end(self) -> None:
        """End everything it runs."""
        for control in (self.asking, self.sweeping, self.studying):
            control.stop.set()

    @property
    def size_bytes(self) -> int:
        """Memory of the last scores, the encoded picture in them, and the run that is shown."""
        seen: set[int] = set()
        scores = [self.scored[1]] if self.scored else []
        pixels = 0
        if self.run is not None:
            scores.append(self.run.scores)
            pixels = 3 * self.run.picture.width * self.run.picture.height
        held = [value for one in scores for value in (one, one.visual)]
        return pixels + sum(tensor_bytes(value, seen) for value in held)


class Sessions:
    """All visitors by session; the longest idle ones go first when there are too many or too much is held."""

    def __init__(self, first_model: str, most_bytes: int) -> None:
        self.first_model = first_model
        self.most_bytes = most_bytes
        self._lock = threading.Lock()
        self._by_session: OrderedDict[str, Session] = OrderedDict()

    def of(self, session_id: str | None, model: str = "") -> Session:
        """The session with this id; a caller without a session gets a fresh one that nobody else can reach.

        model: which one answers a session that is new here, or was forgotten; else the first one.
        """
        fresh = Session(model or self.first_model)
        if not session_id:
            return fresh
        with self._lock:
            session = self._by_session.setdefault(session_id, fresh)
            self._by_session.move_to_end(session_id)
            self._trim()
            return session

    def leave(self, session_id: str | None) -> None:
        """Forget a session and end what it runs."""
        with self._lock:
            session = self._by_session.pop(session_id or "", None)
        if session is not None:
            session.end()

    def forget(self) -> None:
        """Forget every session."""
        for session_id in list(self._by_session):
            self.leave(session_id)

    def __len__(self) -> int:
        return len(self._by_session)

    def _trim(self) -> None:
        while len(self._by_session) > _MOST_VISITS:
            self._by_session.popitem(last=False)[1].end()
        held = sum(session.size_bytes for session in self._by_session.values())
        for session in list(self._by_session.values())[:-1]:
            if held <= self.most_bytes:
                return
            held -= session.size_bytes
            session.scored, session.run = None, None
            session.full.clear()


def tensor_bytes(value: Any, seen: set[int]) -> int:
    """Bytes of the tensors in a value of `adafv_core.types`, each storage counted once."""
    return sum(_storage_bytes(tensor, seen) for tensor in _tensors(value))


def _tensors(value: Any) -> Iterator[Tensor]:
    for item in fields(value):
        found = getattr(value, item.name)
        if isinstance(found, Tensor):
            yield found


def _storage_bytes(tensor: Tensor, seen: set[int]) -> int:
    storage = tensor.untyped_storage()
    if storage.data_ptr() in seen:
        return 0
    seen.add(storage.data_ptr())
    return int(storage.nbytes())
