"""From the state of a run to an `Answer`: tokens, times, FLOPs and bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adafv_core import cost
from adafv_core.engine.plan import Plan
from adafv_core.engine.streaming import FirstLogits
from adafv_core.models.base import Adapter
from adafv_core.types import Answer


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


class CostShapes:
    """The sizes of one model that FLOPs and bytes follow from, read from its config once."""

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter
        self.llm = cost.LLMShape.from_config(adapter.text_config)
        self.bytes_per_value = adapter.model.dtype.itemsize


def make_answer(
    shapes: CostShapes,
    plan: Plan,
    row: int,
    times: Times,
    first: FirstLogits,
    token_ids: Sequence[int],
    text: str,
    finished: bool,
) -> Answer:
    """The answer of one row of a run, as far as it has come: its new token ids and their text."""
    image = plan.rows[row].images[0]
    selection, n_newline = plan.selections(row)[0], plan.n_newline(row)
    n_text = plan.rows[row].n_text
    lengths = plan.layer_tokens(row) or selection.size + n_newline + n_text
    decode_s = max(0.0, times.last_at_s - first.at_s)
    return Answer(
        text=text,
        token_ids=tuple(token_ids),
        selection=selection,
        n_visual=image.visual.size,
        n_kept=selection.size,
        n_newline=n_newline,
        n_text=n_text,
        encode_s=times.encode_s,
        select_s=times.select_s,
        prefill_s=first.at_s - times.generate_at_s,
        ttft_s=first.at_s - times.start_at_s + times.earlier_s,
        decode_s=decode_s,
        tokens_per_s=(len(token_ids) - 1) / decode_s if decode_s > 0 else 0.0,
        prefill_flops=cost.prefill_flops(shapes.llm, lengths),
        vision_flops=shapes.adapter.vision_flops(image.visual),
        kv_cache_bytes=cost.kv_cache_bytes(shapes.llm, lengths, shapes.bytes_per_value),
        finished=finished,
        first_logprobs=first.logprobs[row] if first.logprobs is not None else None,
    )
