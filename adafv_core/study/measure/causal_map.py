"""What leaving a patch out does to the answer: a selection says which visual tokens were kept, not which ones mattered.

The kept tokens are taken as they are. One group of them at a time is left out, the question is asked again, and the run
is compared with the one that had all of them. Tokens that a method did not keep have no value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from adafv_core.checks import whole
from adafv_core.engine.backend import Backend
from adafv_core.engine.gate import Stop, stop_signal
from adafv_core.engine.request import Request
from adafv_core.errors import InputError
from adafv_core.methods import METHODS
from adafv_core.types import Answer, Selection, TokenGrid, TokenScores

MOST_REMOVALS = 64
"""Groups of a map, by default: blocks are made larger until they need no more."""
MOST_IN_A_BATCH = 16


@dataclass(frozen=True)
class Removal:
    """One group of kept tokens, and the run without it.

    image: index of their image. tokens: their indices, ascending. kl_nats: KL(with ‖ without) of the first new token's
    distribution. drop_nats: how much less likely the answer is without them, log p(with) − log p(without); negative
    where they spoke against it. answer: the greedy answer without them, at most as many tokens long as the one with
    them. same: whether its tokens are the same.
    """

    image: int
    tokens: tuple[int, ...]
    kl_nats: float
    drop_nats: float
    answer: str
    same: bool


@dataclass(frozen=True)
class CausalMap:
    """The removals measured so far.

    answer: with all kept tokens. block: side of a group in patches; 1 for every token alone. n_removals: groups in all.
    """

    answer: Answer
    block: int
    n_removals: int
    removals: tuple[Removal, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every group was left out."""
        return len(self.removals) == self.n_removals


def causal_map(
    engine: Backend,
    scores: Sequence[TokenScores],
    selections: Sequence[Selection],
    *,
    max_new_tokens: int = 64,
    block: int = 1,
    most: int = MOST_REMOVALS,
    stop: Stop = None,
) -> Iterator[CausalMap]:
    """Leave each group of kept tokens out of a question once, yielding what is known after every batch.

    scores, selections: one per image of the question, of `score_many` and `select_many` (or a list of one).
    block: a group is the kept tokens among block × block neighboring patches of a crop; larger blocks are taken where
    there would be more than `most` groups. stop: ends the map within a batch; what was measured stands.

    The first value has no removals. A batch costs at most about one prefill of all visual tokens; an answer that
    changes runs a second time, to score the one that did not come. Between two values the engine is free for others.
    Raises InputError of some kind (a method that prunes inside the LLM is refused), StoppedError before the first
    value, or OutOfMemoryError.
    """
    inside = next((one.method for one in selections if one.method in METHODS and METHODS[one.method].inside_llm), None)
    if inside:
        raise InputError(
            f"{METHODS[inside].title} prunes inside the LLM, after every token was read there: choose a method that "
            "prunes before it."
        )
    whole("block", block, 1)
    whole("most", most, 1)
    question = (list(scores), scores[0].prompt)
    request = Request("full", keep_ratio=1.0, max_new_tokens=max_new_tokens)
    (answer,) = engine.answer_batch([question], request, selections=[list(selections)], drafts=[()], stop=stop)
    groups = _all_groups(scores, selections, block)
    while len(groups) > most and block < max(crop.rows + crop.cols for one in scores for crop in one.visual.grid.crops):
        block += 1
        groups = _all_groups(scores, selections, block)
    known = CausalMap(answer, block, len(groups))
    yield known
    if not answer.finished:
        return
    size = max(1, min(MOST_IN_A_BATCH, answer.n_visual // max(1, answer.n_kept)))
    request = replace(request, max_new_tokens=max(1, len(answer.token_ids)))
    for start in range(0, len(groups), size):
        if stop_signal(stop)():
            return
        batch = groups[start : start + size]
        without = [_without(selections, *group) for group in batch]
        drafts = [answer.token_ids] * len(batch)
        asked = [question] * len(batch)
        answers = engine.answer_batch(asked, request, batch_size=size, selections=without, drafts=drafts, stop=stop)
        found = [
            _removal(*group, answer, one)
            for group, one in zip(batch, answers, strict=False)
            if one.finished and one.draft_logprob is not None
        ]
        known = replace(known, removals=(*known.removals, *found))
        yield known


def groups_of(grid: TokenGrid, kept: Sequence[int], block: int) -> list[tuple[int, ...]]:
    """The kept tokens of an image in groups of block × block neighboring patches of a crop, in the order of the grid.

    kept: token indices, ascending.
    """
    groups: dict[tuple[str, int, int], list[int]] = {}
    for crop in grid.crops:
        for token in kept:
            row, column = divmod(token - crop.offset, crop.cols)
            if 0 <= row < crop.rows:
                groups.setdefault((crop.name, row // block, column // block), []).append(token)
    return [tuple(tokens) for tokens in groups.values()]


def _all_groups(
    scores: Sequence[TokenScores], selections: Sequence[Selection], block: int
) -> list[tuple[int, tuple[int, ...]]]:
    """(index of the image, tokens) of every group."""
    return [
        (image, tokens)
        for image, (one, selection) in enumerate(zip(scores, selections, strict=True))
        for tokens in groups_of(one.visual.grid, selection.indices.tolist(), block)
    ]


def _without(selections: Sequence[Selection], image: int, tokens: tuple[int, ...]) -> list[Selection]:
    """The selections, that of one image without these tokens."""
    selection = selections[image]
    stays = ~torch.isin(selection.indices, torch.tensor(tokens, device=selection.indices.device))
    kept = selection.kept.clone()
    kept[list(tokens)] = False
    features = None if selection.features is None else selection.features[stays.to(selection.features.device)]
    fewer = replace(selection, indices=selection.indices[stays], kept=kept, features=features)
    return [fewer if at == image else one for at, one in enumerate(selections)]


def _removal(image: int, tokens: tuple[int, ...], answer: Answer, without: Answer) -> Removal:
    return Removal(
        image,
        tokens,
        _kl_nats(answer, without),
        float(answer.draft_logprob or 0.0) - float(without.draft_logprob or 0.0),
        without.text,
        without.token_ids == answer.token_ids,
    )


def _kl_nats(with_all: Answer, without: Answer) -> float:
    """KL(with_all ‖ without) of the first new token's distribution, ≥ 0."""
    if with_all.first_logprobs is None or without.first_logprobs is None:
        raise InputError("The engine gave no distribution of the first new token, which a causal map compares.")
    p, q = with_all.first_logprobs.double(), without.first_logprobs.double()
    terms = torch.where(p > -torch.inf, p.exp() * (p - q), 0.0)
    return max(0.0, float(terms.sum()))
