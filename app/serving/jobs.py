"""One model, one job at a time: jobs run on their own thread, so that a visitor who leaves never holds the model."""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from PIL import Image

from adafv_core.errors import AdaFVError
from adafv_core.types import Answer, Selection, TokenScores, VisualTokens

T = TypeVar("T")
_POLL_S = 0.05


class Engine(Protocol):
    """What the page needs of an engine, wherever it runs."""

    def score(self, visual_tokens: VisualTokens | Image.Image, prompt: str) -> TokenScores: ...

    def select(
        self,
        scores: TokenScores,
        keep_ratio: float | None = None,
        method: str = "adafv",
        budget: int | None = None,
        **options: Any,
    ) -> Selection: ...

    def stream(
        self,
        image: Image.Image | VisualTokens,
        prompt: str,
        keep_ratio: float | None = None,
        method: str = "adafv",
        max_new_tokens: int = 64,
        budget: int | None = None,
        **options: Any,
    ) -> Iterator[Answer]: ...


class Stopped(AdaFVError):
    """The visitor asked to stop before the job began."""

    def __init__(self) -> None:
        super().__init__("This was stopped before it began: ask again.")


class Bench:
    """The only way to the model: `turn` for one short call, `run` for a stream of snapshots."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watch = threading.Lock()
        self.running = 0
        self.most_running = 0

    @contextmanager
    def turn(self, stop: threading.Event | None = None) -> Iterator[None]:
        """Wait for the model and hold it. Raises Stopped if `stop` is set first."""
        while not self._lock.acquire(timeout=_POLL_S):
            if stop is not None and stop.is_set():
                raise Stopped
        try:
            self._count(1)
            if stop is not None and stop.is_set():
                raise Stopped
            yield
        finally:
            self._count(-1)
            self._lock.release()

    def run(self, job: Callable[[], Iterable[T]], stop: threading.Event) -> Iterator[T]:
        """Yield what `job` yields, computed on a thread of its own that holds the model.

        Closing or dropping the iterator sets `stop`; the thread ends within a token and frees the model. Raises
        what the job raises.
        """
        events: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

        def work() -> None:
            try:
                with self.turn(stop):
                    for value in job():
                        events.put(("value", value))
            except BaseException as error:
                events.put(("error", error))
            else:
                events.put(("end", None))

        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(work,), name="adafv-job", daemon=True).start()
        try:
            while True:
                kind, value = events.get()
                if kind == "value":
                    yield value
                elif kind == "error":
                    raise value
                else:
                    return
        except GeneratorExit:
            stop.set()
            raise

    def _count(self, change: int) -> None:
        with self._watch:
            self.running += change
            self.most_running = max(self.most_running, self.running)
