"""Watch stock `generate` while it runs: new tokens as text, the first logits, a stop within a token, a worker thread.

`generate` itself is untouched: a streamer receives its tokens and a stopping criterion checks the stop signal.
"""

from __future__ import annotations

import contextvars
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from transformers import StoppingCriteria
from transformers.generation.streamers import BaseStreamer

from adafv_core.engine.gate import StopSignal

T = TypeVar("T")


def now_s(device: torch.device | str) -> float:
    """Seconds on a monotonic clock, read after all work queued on `device` is done."""
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.synchronize(device)
    elif kind == "mps":
        torch.mps.synchronize()
    return time.perf_counter()


class StopWhen(StoppingCriteria):  # type: ignore[misc]
    """Ends every sequence of a batch once `stopped` returns true."""

    def __init__(self, stopped: Callable[[], bool]) -> None:
        self.stopped = stopped

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        return torch.full((input_ids.shape[0],), self.stopped(), dtype=torch.bool, device=input_ids.device)


class TokenStreamer(BaseStreamer):  # type: ignore[misc]
    """Passes each new token id of a batch of one to `on_token`, and leaves out the prompt, which comes first."""

    def __init__(self, on_token: Callable[[int], None]) -> None:
        self.on_token = on_token
        self.prompt_seen = False

    def put(self, value: Tensor) -> None:
        if self.prompt_seen:
            self.on_token(int(value.reshape(-1)[0]))
        self.prompt_seen = True

    def end(self) -> None:
        pass


class FirstLogits:
    """A forward hook on the LM head that keeps its output for the first new token.

    logprobs: (B, V) float32 log-probabilities on the CPU. at_s: when they were computed, by `now_s`.
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
    """Watch the LM head during one `generate` call."""
    first = FirstLogits()
    handle = model.get_output_embeddings().register_forward_hook(first)
    try:
        yield first
    finally:
        handle.remove()


class TextStream:
    """Text of a growing list of token ids; only the newest ones are decoded each time.

    A piece is added once its characters are complete, so that no part of a multi-byte character ever shows.
    `tokenizers.decoders.DecodeStream` does the same, but raises on byte tokens that form no valid UTF-8, which a model
    may well generate.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.ids: list[int] = []
        self.text = ""
        self._tokenizer = tokenizer
        self._from = 0
        self._shown = 0

    def add(self, token_id: int) -> str:
        """Append one token and return the text so far, without white space around it."""
        self.ids.append(token_id)
        before = self._decode(self.ids[self._from : self._shown])
        after = self._decode(self.ids[self._from :])
        if len(after) > len(before) and not after.endswith("\ufffd"):
            self.text += after[len(before) :]
            self._from, self._shown = self._shown, len(self.ids)
        return self.text.strip()

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))


def from_worker(work: Callable[[Callable[[T], None]], None], closed: StopSignal) -> Iterator[T]:
    """Run `work` in a thread of its own and yield what it emits; whoever iterates never holds up the work.

    work: is given the function that emits a value, and must end soon after `closed` is set. The thread starts with
    the first `next`; closing or dropping the iterator sets `closed` and joins the thread. Raises what the work raises.
    """
    events: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

    def run() -> None:
        try:
            work(lambda value: events.put((False, value)))
            events.put((True, None))
        except BaseException as error:
            events.put((True, error))

    worker = threading.Thread(target=contextvars.copy_context().run, args=(run,), name="adafv-generate", daemon=True)
    worker.start()
    try:
        while True:
            ended, value = events.get()
            if not ended:
                yield value
            elif value is not None:
                raise value
            else:
                return
    finally:
        closed.set()
        # The garbage collector may close a dropped iterator from any thread, also from this worker.
        if worker is not threading.current_thread():
            worker.join()
