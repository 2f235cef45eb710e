"""Leaving kept patches out: every removal is the answer without those tokens, asked alone; bounded and stoppable."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from helpers.app_context import scene_path, shared_context
from PIL import Image

from adafv_core.engine.backend import Backend
from adafv_core.engine.gate import StopSignal
from adafv_core.errors import InputError
from adafv_core.study.measure.causal_map import CausalMap, Removal, causal_map, groups_of
from adafv_core.types import Answer, Crop, Selection, TokenGrid, TokenScores

PROMPT = "What is the location of the square?"
"""About scene 10, where three of the twenty patches that AdaFV keeps change the answer when left out."""


def engine() -> Backend:
    return shared_context().service.pool.engine("pocket")


@cache
def scored(images: int = 1) -> tuple[TokenScores, ...]:
    pictures = [Image.open(scene_path(10 + number)).convert("RGB") for number in range(images)]
    return tuple(engine().score_many(pictures, PROMPT)) if images > 1 else (engine().score(pictures[0], PROMPT),)


def chosen(scores: tuple[TokenScores, ...], keep_ratio: float, method: str, **options: Any) -> list[Selection]:
    return engine().select_many(scores, keep_ratio, method, **options)


def without_by_hand(selection: Selection, tokens: tuple[int, ...]) -> Selection:
    """Token by token, on lists."""
    stays = [at for at, token in enumerate(selection.indices.tolist()) if token not in tokens]
    indices = [selection.indices.tolist()[at] for at in stays]
    kept = [token in indices for token in range(len(selection.kept))]
    features = None if selection.features is None else torch.stack([selection.features[at] for at in stays])
    made = {"indices": torch.tensor(indices, dtype=torch.long), "kept": torch.tensor(kept), "features": features}
    return replace(selection, **made)


def divergence_by_hand(first: Answer, second: Answer) -> float:
    assert first.first_logprobs is not None and second.first_logprobs is not None
    pairs = zip(first.first_logprobs.tolist(), second.first_logprobs.tolist(), strict=True)
    return math.fsum(math.exp(p) * (p - q) for p, q in pairs if p > -math.inf)


@pytest.mark.parametrize(("method", "images"), [("adafv", 1), ("visionzip", 1), ("adafv", 2)])
def test_every_removal_is_the_answer_without_those_tokens(method: str, images: int) -> None:
    scores = scored(images)
    made = chosen(scores, 0.05, method)
    *_, found = causal_map(engine(), scores, made, max_new_tokens=3)
    whole = engine().answer(list(scores), selection=made, max_new_tokens=3)
    assert (found.answer.token_ids, found.answer.n_kept) == (whole.token_ids, whole.n_kept)
    assert found.complete and found.block == 1 and found.n_removals == 10 * images
    assert [(one.image, one.tokens) for one in found.removals] == [
        (image, (token,)) for image, selection in enumerate(made) for token in selection.indices.tolist()
    ]
    for removal in found.removals[:: 2 * images]:
        fewer = [
            without_by_hand(one, removal.tokens if image == removal.image else ()) for image, one in enumerate(made)
        ]
        alone = engine().answer(list(scores), selection=fewer, max_new_tokens=len(whole.token_ids))
        assert (removal.answer, removal.same) == (alone.text, alone.token_ids == whole.token_ids)
        assert removal.kl_nats == pytest.approx(max(0.0, divergence_by_hand(whole, alone)), abs=2e-5, rel=1e-3)


def test_the_drop_is_what_the_answer_loses_in_likelihood() -> None:
    """For one new token it stands in both first distributions; for more, the run without is forced to answer so."""
    scores = scored()
    made = chosen(scores, 0.1, "adafv")
    *_, short = causal_map(engine(), scores, made, max_new_tokens=1)
    *_, long = causal_map(engine(), scores, made, max_new_tokens=4)
    assert any(not one.same for one in long.removals) and len(long.answer.token_ids) > 1
    token = short.answer.token_ids[0]
    for one, more in list(zip(short.removals, long.removals, strict=True))[::4]:
        fewer = without_by_hand(made[0], one.tokens)
        alone = engine().answer(scores[0], selection=fewer, max_new_tokens=1)
        assert short.answer.first_logprobs is not None and alone.first_logprobs is not None
        expected = float(short.answer.first_logprobs[token] - alone.first_logprobs[token])
        assert one.drop_nats == pytest.approx(expected, abs=1e-4)
        drafts = [long.answer.token_ids]
        (forced,) = engine().answer_batch([(scores[0], PROMPT)], 1.0, "full", 4, selections=[fewer], drafts=drafts)
        assert more.drop_nats == pytest.approx((long.answer.draft_logprob or 0) - (forced.draft_logprob or 0), abs=1e-3)


def test_the_last_kept_token_can_be_left_out_too() -> None:
    scores = scored()
    made = chosen(scores, 0.005, "t2i")
    *_, found = causal_map(engine(), scores, made, max_new_tokens=2)
    assert found.answer.n_kept == 1 and found.complete and len(found.removals) == 1


@pytest.mark.parametrize("block", [1, 2, 3, 7])
def test_groups_are_the_kept_tokens_of_neighboring_patches_of_one_crop(block: int) -> None:
    base, tiles = Crop("base", 4, 6, (0, 0, 60, 40), 0), Crop("tiles", 5, 7, (0, 0, 60, 40), 24)
    kept = [token for token in range(59) if token % 3 or token % 7 == 0]
    groups = groups_of(TokenGrid((60, 40), (base, tiles)), kept, block)
    assert sorted(token for group in groups for token in group) == kept

    def place(token: int) -> tuple[str, int, int]:
        crop = base if token < 24 else tiles
        at = token - crop.offset
        return crop.name, at // crop.cols // block, at % crop.cols // block

    assert all(len({place(token) for token in group}) == 1 for group in groups)
    assert len({place(group[0]) for group in groups}) == len(groups)


def test_larger_blocks_bound_the_groups_and_a_batch_costs_at_most_a_full_prefill(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores, batches, real = scored(), [], engine().answer_batch

    def watched(questions: Any, *arguments: Any, selections: Any, **options: Any) -> Any:
        batches.append([made[0].size for made in selections])
        return real(questions, *arguments, selections=selections, **options)

    monkeypatch.setattr(engine(), "answer_batch", watched, raising=False)
    made = chosen(scores, 0.1, "adafv")
    *_, few = causal_map(engine(), scores, made, most=7, max_new_tokens=1)
    assert few.n_removals <= 7 and few.block > 1 and few.complete
    assert sorted(token for one in few.removals for token in one.tokens) == made[0].indices.tolist()
    *_, each = causal_map(engine(), scores, made, max_new_tokens=1)
    assert each.n_removals == 20 and all(sum(batch) <= 196 for batch in batches[2:])
    assert max(map(len, batches)) > 4
    whole = chosen(scores, 1.0, "full")
    first = next(causal_map(engine(), scores, whole, max_new_tokens=1))
    assert (first.block, first.n_removals, first.removals) == (2, 49, ())


def test_it_stops_within_a_batch_and_keeps_what_was_measured() -> None:
    scores, stop, seen = scored(), StopSignal(), list[CausalMap]()
    for known in causal_map(engine(), scores, chosen(scores, 0.1, "adafv"), max_new_tokens=2, stop=stop):
        seen.append(known)
        if known.removals:
            stop.set()
    assert len(seen) == 2 and 0 < len(seen[-1].removals) < seen[-1].n_removals and not seen[-1].complete
    assert all(isinstance(one, Removal) for one in seen[-1].removals)


@pytest.mark.parametrize(
    ("options", "text"),
    [({"block": 0}, "block"), ({"most": 0}, "most"), ({"method": "fastv"}, "FastV prunes inside the LLM")],
)
def test_what_it_does_not_take_is_refused(options: dict[str, Any], text: str) -> None:
    scores = scored()
    made = chosen(scores, 0.1, options.pop("method", "adafv"))
    with pytest.raises(InputError, match=text):
        next(causal_map(engine(), scores, made, **options))
