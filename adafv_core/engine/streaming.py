"""Watch stock `generate` while it runs: new tokens as text, the first logits, times and costs, up to an `Answer`.

`generate` itself is untouched: a streamer receives its tokens and a stopping criterion checks the stop signal.
"""

from __future__ import annotations

import contextvars
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from transformers import StoppingCriteria
from transformers.generation.streamers import BaseStreamer

from adafv_core import cost
from adafv_core.engine.batch import Plan
from adafv_core.engine.gate import StopSignal
from adafv_core.errors import ModelError
from adafv_core.types import Answer

T = TypeVar("T")


def now_s(device: torch.device | str) -> float:
    """Seconds on a monotonic clock, read after all work queued on `device` is done."""
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.synchronize(device)
    elif kind == "mps":
        torch.mps.synchronize()
    return time.perf_counter()


@dataclass(eq=False)
class StopWhen(StoppingCriteria):  # type: ignore[misc]
    """Ends every sequence of a batch once `stopped` returns true."""

    stopped: Callable[[], bool]

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        return torch.full((input_ids.shape[0],), self.stopped(), dtype=torch.bool, device=input_ids.device)


@dataclass(eq=False)
class TokenStreamer(BaseStreamer):  # type: ignore[misc]
    """Passes each new token id of a batch of one to `on_token`, and leaves out the prompt, which comes first."""

    on_token: Callable[[int], None]
    prompt_seen: bool = False

    def put(self, value: Tensor) -> None:
        if self.prompt_seen:
            self.on_token(int(value.reshape(-1)[0]))
        self.prompt_seen = True

    def end(self) -> None:
        pass


@dataclass(eq=False)
class FirstLogits:
    """A forward hook on the LM head that keeps its output for the first new token of one `generate` call.

    logprobs: (B, V) float32 log-probabilities on the CPU. at_s: when they were computed, by `now_s`. finite: whether
    the logits of all later tokens were, a bool scalar on the device. Raises ModelError if the first are not.
    """

    logprobs: Tensor | None = None
    at_s: float = 0.0
    finite: Tensor | None = None

    def __call__(self, module: nn.Module, args: Any, output: Tensor) -> None:
        last = output[:, -1].detach()
        if self.logprobs is None:
            self.logprobs = last.float().log_softmax(-1).cpu()
            self.at_s = now_s(output.device)
            refuse_not_finite(torch.isfinite(self.logprobs.amax(-1)).all(), "logits")
            return
        finite = torch.isfinite(last.amax(-1)).all()  # NaN spreads; -inf is a word ruled out
        self.finite = finite if self.finite is None else self.finite & finite

    def check(self) -> None:
        """Raise ModelError if any logits so far were NaN or infinite."""
        if self.finite is not None:
            refuse_not_finite(self.finite, "logits")


def refuse_not_finite(finite: Tensor, what: str) -> None:
    """Raise ModelError if a bool scalar is false: NaN would otherwise be answered as if it were a result."""
    if not finite:
        raise ModelError(
            f"The model's {what} are not finite numbers, so no answer can follow: its weights are damaged, or its "
            "dtype overflows. Fetch its files again, or load it in float32 or bfloat16."
        )


@dataclass(eq=False)
class TextStream:
    """Text of a growing list of token ids; only the newest ones are decoded each time.

    A piece is added once its characters are complete, so that no part of a multi-byte character ever shows.
    `tokenizers.decoders.DecodeStream` does the same, but raises on byte tokens that form no valid UTF-8, which a model
    may well generate.
    """

    tokenizer: Any
    ids: list[int] = field(default_factory=list)
    text: str = ""
    _from: int = 0
    _shown: int = 0

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
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))


@dataclass
class Times:
    """Durations of a run's phases and readings of `now_s`, in seconds.

    encode_s, select_s: durations, including what scores given to the run took earlier. start_at_s, generate_at_s,
    last_at_s: when the run began, when `generate` was called, and when the latest new token came. earlier_s: what was
    spent before start_at_s, on scores given to the run.
    """

    start_at_s: float
    encode_s: float = 0.0
    select_s: float = 0.0
    earlier_s: float = 0.0
    generate_at_s: float = 0.0
    last_at_s: float = 0.0

    def add_earlier(self, encode_s: float, score_s: float) -> None:
        """Count the work behind scores that were made before the run."""
        self.encode_s += encode_s
        self.select_s += score_s
        self.earlier_s += encode_s + score_s


def make_answer(
    plan: Plan,
    row: int,
    times: Times,
    first: FirstLogits,
    token_ids: Sequence[int],
    text: str,
    finished: bool,
) -> Answer:
    """The answer of one row of a run, as far as it has come: its new token ids and their text."""
    adapter, visuals = plan.adapter, [image.visual for image in plan.rows[row].images]
    selections, n_newline = plan.kept(row)
    n_kept, n_text = sum(one.indices.shape[0] for one in selections), plan.rows[row].n_text
    lengths = plan.layer_tokens(row) or n_kept + n_newline + n_text
    decode_s = max(0.0, times.last_at_s - first.at_s)
    return Answer(
        text=text,
        token_ids=tuple(token_ids),
        selection=selections[0],
        n_visual=sum(visual.saliency.shape[0] for visual in visuals),
        n_kept=n_kept,
        n_newline=n_newline,
        n_text=n_text,
        encode_s=times.encode_s,
        select_s=times.select_s,
        prefill_s=first.at_s - times.generate_at_s,
        ttft_s=first.at_s - times.start_at_s + times.earlier_s,
        decode_s=decode_s,
        tokens_per_s=(len(token_ids) - 1) / decode_s if decode_s > 0 else 0.0,
        prefill_flops=cost.prefill_flops(adapter.llm_shape, lengths),
        vision_flops=sum(adapter.vision_flops(visual) for visual in visuals),
        kv_cache_bytes=cost.kv_cache_bytes(adapter.llm_shape, lengths, adapter.model.dtype.itemsize),
        finished=finished,
        first_logprobs=first.logprobs[row] if first.logprobs is not None else None,
        selections=selections,
    )


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
