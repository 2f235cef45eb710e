"""The queue of the page: visitors take turns, each has a bounded number of waiting calls, and a call that nobody
waits for any more ends.

Overrides methods of Gradio's private `Queue`, as of the version below; `tests/app/test_gradio_ext.py` fails if another
version works differently.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gradio as gr
from gradio.queueing import Event, EventQueue, Queue
from gradio.server_messages import ProcessCompletedMessage
from gradio.utils import error_payload

from adafv_core.engine.gate import StopSignal

WRITTEN_FOR = "6.31"
UNKNOWN_S = 2.0
"""Assumed for a request of a kind that has not run yet."""
UNHEARD_S = 30.0
"""A call whose result nobody has begun to read after this long is given up."""
STOPPING = "The server is stopping: ask again in a minute."
_TOLD_WITHIN_S = 2.0
LONG_LINES = frozenset({"sweep", "study", "strip", "causal map", "comparison"})
"""Lines of jobs that take minutes: a visitor runs one at a time in each, so that no visitor takes every place."""


class FairQueue(Queue):
    """Gradio's queue, with turns between visitors and an end for calls that nobody waits for.

    A visitor is whoever calls from one address: behind a proxy the address that uvicorn reads from X-Forwarded-For.
    visitor_size: the most calls of one visitor that may wait; None for no bound.
    """

    def __init__(self, visitor_size: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.visitor_size = visitor_size
        self.stopping = False
        self._listeners: Counter[str] = Counter()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Gradio's start, within the server's event loop."""
        self._loop = asyncio.get_running_loop()
        super().start()

    async def push(self, body: Any, request: Any, username: str | None) -> tuple[bool, Any, Any]:
        """Add a call to its line, in its visitor's turn; a sentence instead if too many wait."""
        if self.stopping:
            return False, STOPPING, "queue_full"
        visitor = visitor_of(request)
        waiting = sum(visitor_of(event.request) == visitor for event in self.waiting())
        if self.visitor_size is not None and waiting >= self.visitor_size:
            return False, visitor_busy_text(waiting, wait_s(self)), "queue_full"
        accepted, said, state = await super().push(body, request, username)
        if state == "queue_full":
            return accepted, busy_text(wait_s(self)), state
        event = self.event_ids_to_events.get(said) if accepted else None
        if event is not None:
            client_gone(event)
            line = self.event_queue_per_concurrency_id[event.concurrency_id]
            line.queue[:] = in_turns(line.queue, self.running(line))
            asyncio.get_running_loop().call_later(UNHEARD_S, self._give_up_unheard, event)
        return accepted, said, state

    def get_events(self) -> tuple[list[Event], bool, str] | None:
        """The next call to run: the first of its line, of a visitor who may run one more there."""
        lines = [line for line in self.event_queue_per_concurrency_id.values() if has_place(line)]
        firsts = [event for line in lines if (event := self._first(line)) is not None]
        if not firsts:
            return None
        event = min(firsts, key=lambda one: one.enqueue_time)
        self.event_queue_per_concurrency_id[event.concurrency_id].queue.remove(event)
        return [event], False, event.concurrency_id

    async def clean_events(self, *, session_hash: str | None = None, event_id: str | None = None) -> None:
        """Gradio's answer to a closed connection; also ends what runs for it."""
        await super().clean_events(session_hash=session_hash, event_id=event_id)
        for event in self.active():
            if not event.alive:
                client_gone(event).set()

    def drain(self, within_s: float) -> None:
        """Take no more calls; those that wait end with a sentence, and so do those that still run after `within_s`.

        For another thread than the event loop's; returns when the clients have been told.
        """
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self._drain(within_s), self._loop).result(within_s + 2 * _TOLD_WITHIN_S)

    async def _drain(self, within_s: float) -> None:
        self.stopping = True
        for event in self.waiting():
            self._tell_stopping(event)
            self.event_queue_per_concurrency_id[event.concurrency_id].queue.remove(event)
        await self._until_idle(within_s)
        for event in self.active():
            self._tell_stopping(event)
            event.alive = False
            client_gone(event).set()
        await self._until_idle(_TOLD_WITHIN_S)
        ends_at_s = time.monotonic() + _TOLD_WITHIN_S
        while self._listeners and time.monotonic() < ends_at_s:
            await asyncio.sleep(0.02)

    async def _until_idle(self, within_s: float) -> None:
        ends_at_s = time.monotonic() + within_s
        while self.active() and time.monotonic() < ends_at_s:
            await asyncio.sleep(0.02)

    def _tell_stopping(self, event: Event) -> None:
        content = error_payload(gr.Error(STOPPING), show_error=True)
        self.send_message(event, ProcessCompletedMessage(output=content, title="Stopping", success=False))

    @contextmanager
    def listening(self, name: str) -> Iterator[None]:
        """Within the block somebody reads the results of this session or call."""
        self._listeners[name] += 1
        try:
            yield
        finally:
            self._listeners[name] -= 1
            if not self._listeners[name]:
                del self._listeners[name]

    def waiting(self) -> list[Event]:
        """The calls that wait, of all lines."""
        return [event for line in self.event_queue_per_concurrency_id.values() for event in line.queue]

    def active(self) -> list[Event]:
        """The calls that run."""
        return [event for job in self.active_jobs if job for event in job]

    def running(self, line: EventQueue) -> list[Event]:
        """The calls that run in this line."""
        return [event for event in self.active() if event.concurrency_id == line.concurrency_id]

    def _first(self, line: EventQueue) -> Event | None:
        if line.concurrency_id not in LONG_LINES:
            return line.queue[0] if line.queue else None
        busy = {visitor_of(event.request) for event in self.running(line)}
        return next((event for event in line.queue if visitor_of(event.request) not in busy), None)

    def _give_up_unheard(self, event: Event) -> None:
        if self._listeners[event.session_hash] or self._listeners[event._id]:
            return
        line = self.event_queue_per_concurrency_id[event.concurrency_id]
        if event in line.queue:
            line.queue.remove(event)
            self.event_ids_to_events.pop(event._id, None)
        elif event in self.active():
            event.alive = False
            client_gone(event).set()


def client_gone(call: Event | gr.Request) -> StopSignal:
    """Set once nobody waits for this call any more. It is kept with the HTTP request that made the call."""
    state = getattr(call.request, "state", None)
    if state is None:
        return StopSignal()
    signal: StopSignal | None = getattr(state, "adafv_client_gone", None)
    if signal is None:
        signal = state.adafv_client_gone = StopSignal()
    return signal


def visitor_of(request: Any) -> str:
    """The address that a request comes from; of IPv6 the network of 64 bits, of which one machine has all."""
    host = request.client.host if request is not None and request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return str(host)
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else str(address)


def in_turns(waiting: Sequence[Event], running: Sequence[Event] = ()) -> list[Event]:
    """The calls of a line in the order in which they are served: a first one of every visitor, then a second one of
    each, and so on; those of one visitor likewise by session. running: calls that have had their turn already.
    """
    by_session = _turns(waiting, running, lambda event: event.session_hash)
    return _turns(by_session, running, lambda event: visitor_of(event.request))


def _turns(waiting: Sequence[Event], running: Sequence[Event], owner: Callable[[Event], Hashable]) -> list[Event]:
    turns = Counter(owner(event) for event in running)
    numbered = []
    for event in waiting:
        numbered.append((turns[owner(event)], event))
        turns[owner(event)] += 1
    return [event for _, event in sorted(numbered, key=lambda pair: pair[0])]


def has_place(line: EventQueue) -> bool:
    """Whether one more call may run in this line."""
    return line.concurrency_limit is None or line.current_concurrency < line.concurrency_limit


def wait_s(queue: Queue) -> float:
    """Estimated seconds until the longest line is served, from the mean time of past requests."""
    waits = []
    for line in queue.event_queue_per_concurrency_id.values():
        times = [queue.process_time_per_fn.get(event.fn) for event in line.queue]
        each = [time.avg_time if time is not None and time.count else UNKNOWN_S for time in times]
        waits.append(sum(each) / (line.concurrency_limit or max(1, len(each))))
    return max(waits, default=UNKNOWN_S)


def busy_text(seconds: float) -> str:
    """The sentence for a full queue."""
    return f"Busy: many questions are waiting. Try again in {whole_s(seconds)} s."


def visitor_busy_text(waiting: int, seconds: float) -> str:
    """The sentence for a visitor of whom too many calls wait."""
    return f"Busy: {waiting} of your own questions are waiting already. Try again in {whole_s(seconds)} s."


def whole_s(seconds: float) -> int:
    """Whole seconds to wait, at least one."""
    return max(1, math.ceil(seconds))
