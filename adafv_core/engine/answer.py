"""From a run's tokens, times and counts to an `Answer`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from adafv_core import cost
from adafv_core.models.base import Adapter
from adafv_core.types import Answer, Selection, VisualTokens


@dataclass
class Times:
    """Readings of one clock, and two durations, in seconds.

    start_s, encoded_s, generate_s, first_s, last_s: when the call began, the image was encoded, `generate`
    began, the first and the latest new token came. encode_s, select_s: durations.
    """

    start_s: float
    encode_s: float = 0.0
    encoded_s: float = 0.0
    select_s: float = 0.0
    generate_s: float = 0.0
    first_s: float = 0.0
    last_s: float = 0.0


def make_answer(
    adapter: Adapter,
    visual: VisualTokens,
    selection: Selection,
    times: Times,
    *,
    text: str,
    token_ids: Sequence[int],
    n_newline: int,
    n_text: int,
    finished: bool,
    first_logprobs: Tensor | None,
    layer_tokens: Sequence[int] | None = None,
) -> Answer:
    """Put together what is known so far.

    layer_tokens: sequence length in each LLM layer where they differ (pruning inside the LLM), else None.
    """
    llm = cost.LLMShape.from_config(adapter.text_config)
    lengths = selection.size + n_newline + n_text if layer_tokens is None else list(layer_tokens)
    decode_s = max(0.0, times.last_s - times.first_s)
    return Answer(
        text=text,
        token_ids=tuple(token_ids),
        selection=selection,
        n_visual=visual.size,
        n_kept=selection.size,
        n_newline=n_newline,
        n_text=n_text,
        encode_s=times.encode_s,
        select_s=times.select_s,
        prefill_s=times.first_s - times.generate_s,
        ttft_s=times.first_s - times.start_s,
        decode_s=decode_s,
        tokens_per_s=(len(token_ids) - 1) / decode_s if decode_s > 0 else 0.0,
        prefill_flops=cost.prefill_flops(llm, lengths),
        vision_flops=image_flops(adapter, visual),
        kv_cache_bytes=cost.kv_cache_bytes(llm, lengths, adapter.model.dtype.itemsize),
        finished=finished,
        first_logprobs=first_logprobs,
    )


def image_flops(adapter: Adapter, visual: VisualTokens) -> int:
    """FLOPs of encoding and projecting all crops of one image."""
    crops, patches = visual.required("cls_attention", "The cost of encoding").shape
    layers = adapter.vision_config.num_hidden_layers
    shape = cost.VisionShape.from_config(adapter.vision_config, layers, adapter.has_cls)
    projector = cost.projector_flops(
        crops * patches, adapter.vision_config.hidden_size, adapter.text_config.hidden_size
    )
    return cost.vision_flops(shape, crops) + projector
