"""How likely a run finds given answers: teacher forcing through stock `generate`, for any method and any family.

A hook on the LM head adds up the log-probabilities of each draft's tokens while the tokens chosen are the draft's own.
A greedy answer that equals its draft needs nothing more; for any other, `generate` runs once with the draft forced.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LogitsProcessor

from adafv_core.errors import InputError

Draft = tuple[int, ...]


class DraftLogprobs:
    """A forward hook on the LM head that sums up what each row gives its draft.

    totals: (B,) float64, Σ log p in nats over the draft's tokens, valid for rows whose new tokens are the draft's.
    largest: a step, (B,) float64, the log-probability of the likeliest token, which a greedy answer has: the empty
    draft stands for the answer itself.
    """

    def __init__(self, drafts: Sequence[Draft | None]) -> None:
        self.drafts = drafts
        self.totals = torch.zeros(len(drafts), dtype=torch.float64)
        self.largest: list[Tensor] = []
        self._step = 0

    def __call__(self, module: nn.Module, args: Any, output: Tensor) -> None:
        if () in self.drafts:
            self.largest.append(output[:, -1].float().log_softmax(-1).amax(-1).double().cpu())
        rows = [row for row, draft in enumerate(self.drafts) if draft is not None and self._step < len(draft)]
        if rows:
            wanted = [draft[self._step] for draft in self.drafts if draft is not None and self._step < len(draft)]
            logprobs = output[rows, -1].float().log_softmax(-1)
            at = torch.tensor(wanted, device=output.device)
            self.totals[rows] += logprobs.gather(1, at[:, None])[:, 0].double().cpu()
        self._step += 1

    def of(self, row: int, token_ids: Sequence[int]) -> float | None:
        """Log-probability of a row's draft; None where it has none or its new tokens are others."""
        draft = self.drafts[row]
        if draft == ():
            return float(sum(step[row] for step in self.largest[: len(token_ids)]))
        return float(self.totals[row]) if draft is not None and tuple(token_ids) == draft else None


@contextmanager
def draft_logprobs(model: Any, drafts: Sequence[Draft | None]) -> Iterator[DraftLogprobs]:
    """Watch the LM head during one `generate` call. Without any draft nothing is hooked."""
    watched = DraftLogprobs(drafts)
    handle = (
        model.get_output_embeddings().register_forward_hook(watched)
        if any(draft is not None for draft in drafts)
        else None
    )
    try:
        yield watched
    finally:
        if handle is not None:
            handle.remove()


class ForceDraft(LogitsProcessor):  # type: ignore[misc]
    """Lets each row choose its draft's next token only; a row whose draft has ended repeats the draft's last token."""

    def __init__(self, drafts: Sequence[Draft]) -> None:
        self.drafts = drafts
        self._step = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        wanted = torch.tensor([draft[min(self._step, len(draft) - 1)] for draft in self.drafts], device=scores.device)
        self._step += 1
        return torch.full_like(scores, -torch.inf).scatter(1, wanted[:, None], 0.0)


def check_drafts(drafts: object, questions: int) -> list[Draft | None]:
    """One draft per question, as tuples. Raises InputError for another number of them, or for anything but token ids.

    drafts: an iterable of token id sequences and None, or None for no draft at all.
    """
    if drafts is None:
        return [None] * questions
    if not hasattr(drafts, "__iter__"):
        raise InputError(f"drafts must be a list with one draft per question; got {type(drafts).__name__}.")
    found = [None if one is None else tuple(one) for one in drafts]
    if len(found) != questions:
        raise InputError(f"Expected one draft per question; got {len(found)} for {questions} questions.")
    for draft in found:
        if draft is None:
            continue
        whole = all(isinstance(one, int) and not isinstance(one, bool) for one in draft)
        if not whole or not all(one >= 0 for one in draft):
            raise InputError(f"A draft must be token ids, or None; got {draft!r:.60}.")
    return found


def check_vocabulary(drafts: Sequence[Draft | None], vocabulary: int) -> None:
    """Raise InputError for a token id that the model does not have."""
    largest = max((max(draft) for draft in drafts if draft), default=0)
    if largest >= vocabulary:
        raise InputError(f"A draft holds token id {largest:,}; this model has {vocabulary:,} tokens.")
