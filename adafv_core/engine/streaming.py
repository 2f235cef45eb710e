"""Run stock `generate` token by token: in a worker thread, stoppable within a token, freeing what it held.

`generate` itself is untouched; a streamer hands tokens over and a stopping criterion looks at the stop
signal.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from adafv_core.engine.clock import now_s
from adafv_core.errors import InputError

Stop = Callable[[], bool] | threading.Event | None


def stop_signal(stop: Stop) -> Callable[[], bool]:
    """One callable for the ways to ask for a stop: a callable, a threading.Event, or None for never."""
    if stop is None:
        return lambda: False
    if isinstance(stop, threading.Event):
        return stop.is_set
    if callable(stop):
        return stop
    raise InputError(f"stop must be a callable, a threading.Event or None; got {type(stop).__name__}.")


class StopWhen(StoppingCriteria):  # type: ignore[misc]
    """Ends every sequence of a batch once asked to."""

    def __init__(self, asked: Callable[[], bool]) -> None:
        self.asked = asked

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        return torch.full((input_ids.shape[0],), self.asked(), dtype=torch.bool, device=input_ids.device)


class _TokenQueue(BaseStreamer):  # type: ignore[misc]
    """Puts each new token id into a queue; the first thing `generate` streams is the prompt, left out."""

    def __init__(self) -> None:
        self.events: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self.prompt_seen = False

    def put(self, value: Tensor) -> None:
        if self.prompt_seen:
            self.events.put(("token", int(value.reshape(-1)[0])))
        self.prompt_seen = True

    def end(self) -> None:
        pass


class FirstLogits:
    """A forward hook on the LM head that keeps what came out for the first new token.

    logprobs: (B, V) float32 log-probabilities. at_s: when they came, by the clock of `models/clock.py`.
    """

    def __init__(self) -> None:
        self.logprobs: Tensor | None = None
        self.at_s = 0.0

    def __call__(self, module: nn.Module, args: Any, output: Tensor) -> None:
        if self.logprobs is None:
            self.logprobs = output[:, -1].detach().float().log_softmax(-1).cpu()
            self.at_s = now_s(output.device)


@contextmanager
def first_logits(model: Any) -> Iterator[FirstLogits]:
    """Watch the LM head for the length of one `generate` call."""
    first = FirstLogits()
    handle = model.get_output_embeddings().register_forward_hook(first)
    try:
        yield first
    finally:
        handle.remove()


def generate_tokens(
    model: Any, arguments: dict[str, Any], *, max_new_tokens: int, asked: Callable[[], bool], **options: Any
) -> Generator[int, None, None]:
    """Yield the new token ids of a batch of one as they come. Closing the iterator ends the run within a
    token.

    arguments: of `model.generate`. options: further generation options; greedy unless they say otherwise.
    The iterator owns the worker thread: it is joined before the iterator ends, however it ends. Raises
    OutOfMemoryError after everything the run held was freed.
    """
    closed = threading.Event()
    stream = _TokenQueue()
    criteria = StoppingCriteriaList([StopWhen(lambda: closed.is_set() or asked())])

    def work() -> None:
        try:
            with torch.inference_mode():
                model.generate(
                    **arguments,
                    **{"do_sample": False, "num_beams": 1, **options},
                    max_new_tokens=max_new_tokens,
                    streamer=stream,
                    stopping_criteria=criteria,
                )
            stream.events.put(("end", None))
        except BaseException as error:
            stream.events.put(("error", error))

    worker = threading.Thread(target=work, name="adafv-generate", daemon=True)
    worker.start()
    try:
        while True:
            kind, value = stream.events.get()
            if kind == "token":
                yield value
            elif kind == "end":
                return
            else:
                raise value
    finally:
        closed.set()
        worker.join()


class TextBuilder:
    """Decodes a growing list of token ids, only the new ones each time.

    A piece is added once the tokenizer can tell its characters (not inside a multi-byte character).
    `finish` decodes everything at once, exactly as the stock processor would.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.ids: list[int] = []
        self.text = ""
        self._from = 0
        self._shown = 0

    def add(self, token_id: int) -> str:
        """Append one token and return the text so far."""
        self.ids.append(token_id)
        before = self._decode(self.ids[self._from : self._shown])
        after = self._decode(self.ids[self._from :])
        if len(after) > len(before) and not after.endswith("\ufffd"):
            self.text += after[len(before) :]
            self._from, self._shown = self._shown, len(self.ids)
        return self.text.strip()

    def finish(self) -> str:
        """The whole text."""
        return self._decode(self.ids).strip()

    def _decode(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))
