"""Shows callers the prompt they wrote around a `generate` call that runs on a pruned one.

The caller's streamers, stopping criteria, logits processors and length limits, and the returned sequences, all refer to
the unpruned prompt.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer


@dataclass(frozen=True)
class WholePrompt:
    """The unpruned view of one call.

    input_ids: (B, L) int64, the caller's prompts. length: L', the padded length of the pruned ones.
    """

    input_ids: Tensor
    length: int

    @property
    def difference(self) -> int:
        """L − L', how many tokens longer the caller's prompts are."""
        return int(self.input_ids.shape[1]) - self.length

    def restore(self, sequences: Tensor) -> Tensor:
        """Put the caller's prompts back in front of the new tokens: (B·n, L' + new) -> (B·n, L + new)."""
        prompts = self.input_ids.to(sequences.device)
        prompts = prompts.repeat_interleave(sequences.shape[0] // prompts.shape[0], dim=0)
        return torch.cat((prompts, sequences[:, self.length :]), dim=1)

    def arguments(self, kwargs: dict[str, Any], stock_config: Any) -> dict[str, Any]:
        """The caller's arguments of `generate`, with lengths counted and prompts seen as in the unpruned prompt.

        stock_config: the model's own generation config, whose limits apply where the caller sets none.
        """
        found = dict(kwargs)
        config = found.get("generation_config")
        if config is not None:
            config = found["generation_config"] = copy.deepcopy(config)
        for name in ("max_length", "min_length"):
            if found.get(name) is not None:
                found[name] = max(1, found[name] - self.difference)
            elif config is not None and getattr(config, name, None):
                setattr(config, name, max(1, getattr(config, name) - self.difference))
            elif getattr(stock_config, name, None) and found.get(name.replace("length", "new_tokens")) is None:
                found[name] = max(1, getattr(stock_config, name) - self.difference)
        if found.get("streamer") is not None:
            found["streamer"] = _Streamer(found["streamer"], self)
        if found.get("stopping_criteria") is not None:
            found["stopping_criteria"] = StoppingCriteriaList(
                [_Criteria(one, self) for one in found["stopping_criteria"]]
            )
        if found.get("logits_processor") is not None:
            found["logits_processor"] = LogitsProcessorList(
                [_Processor(one, self) for one in found["logits_processor"]]
            )
        if found.get("prefix_allowed_tokens_fn") is not None:
            found["prefix_allowed_tokens_fn"] = self._allowed(found["prefix_allowed_tokens_fn"])
        return found

    def _allowed(self, allowed: Callable[[int, Tensor], list[int]]) -> Callable[[int, Tensor], list[int]]:
        def for_whole(row: int, ids: Tensor) -> list[int]:
            return allowed(row, torch.cat((self.input_ids[row].to(ids.device), ids[self.length :])))

        return for_whole


class _Streamer(BaseStreamer):  # type: ignore[misc]
    def __init__(self, streamer: Any, whole: WholePrompt) -> None:
        self.streamer, self.whole, self.prompt_seen = streamer, whole, False

    def put(self, value: Tensor) -> None:
        self.streamer.put(value if self.prompt_seen else self.whole.restore(value))
        self.prompt_seen = True

    def end(self) -> None:
        self.streamer.end()


class _Criteria(StoppingCriteria):  # type: ignore[misc]
    def __init__(self, criteria: Any, whole: WholePrompt) -> None:
        self.criteria, self.whole = criteria, whole

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Any:
        return self.criteria(self.whole.restore(input_ids), scores, **kwargs)


class _Processor(LogitsProcessor):  # type: ignore[misc]
    def __init__(self, processor: Any, whole: WholePrompt) -> None:
        self.processor, self.whole = processor, whole

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Any:
        return self.processor(self.whole.restore(input_ids), scores)
