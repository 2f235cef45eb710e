"""Scores without features, as a saved run holds them: every method gives the same as on the whole, or refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers.made_scores import made_scores

from adafv_core import METHODS, get_method
from adafv_core.errors import InputError
from adafv_core.scoring import rescored, rescored_t2i
from adafv_core.types import TokenScores

NEEDS = {
    "adav_authors": "adav_authors needs the saliency by encoder crop, which a saved run does not hold",
    "visionzip": "visionzip needs the vision encoder's keys, which a saved run does not hold",
    "vispruner": "vispruner needs the vision features before the projector, which a saved run does not hold",
    "divprune": "divprune needs the projected visual tokens, which a saved run does not hold",
    "scope": "scope needs the vision features before the projector, which a saved run does not hold",
    "mmtok": "mmtok needs the vision features before the projector, which a saved run does not hold",
    **{
        name: f"{name} needs the projected visual tokens, which a saved run does not hold"
        for name in ("adafv_d", "cdpruner", "eadp_llm", "pooling")
    },
    **{name: f"{name} chooses inside the LLM" for name in ("fastv", "sparsevlm", "pyramiddrop")},
}


def bare(scores: TokenScores) -> TokenScores:
    """The scores alone."""
    none = dict.fromkeys(("features", "cls_attention", "vision_features", "vision_keys"))
    return replace(scores, text_tokens=None, visual=replace(scores.visual, **none))


@pytest.mark.parametrize("budget", [1, 5, 20, 32])
@pytest.mark.parametrize("name", METHODS)
def test_a_method_selects_the_same_or_refuses(name: str, budget: int) -> None:
    scores = made_scores(crops=2, temperature=100.0)
    if name in NEEDS:
        with pytest.raises(InputError, match=NEEDS[name]):
            get_method(name).select(bare(scores), budget)
        return
    whole, alone = (get_method(name).select(one, budget) for one in (scores, bare(scores)))
    assert torch.equal(whole.indices, alone.indices) and torch.equal(whole.mixed, alone.mixed)


@pytest.mark.parametrize("text_tokens", ["question", "all"])
@pytest.mark.parametrize("name", ["t2i", "fixed_mix", "adafv"])
def test_another_temperature_is_refused(name: str, text_tokens: str) -> None:
    scores = bare(made_scores(temperature=100.0))
    method = get_method(name, temperature=20.0, text_tokens=text_tokens)
    with pytest.raises(InputError, match=r"from 100 to 20 needs the projected visual tokens, which a saved run"):
        method.select(scores, 5)
    with pytest.raises(InputError, match="score the image again"):
        rescored(scores, 20.0, text_tokens)


def test_text_embeddings_alone_are_missed_too() -> None:
    with pytest.raises(InputError, match="needs the embeddings of the text"):
        rescored_t2i(replace(made_scores(temperature=100.0), text_tokens=None), 20.0)


def test_the_question_is_not_found_again_where_all_words_counted() -> None:
    scores = bare(made_scores(temperature=100.0))
    everything = rescored(scores, text_tokens="all")
    assert torch.equal(rescored_t2i(everything, text_tokens="all"), everything.t2i)
    assert torch.equal(rescored(everything, text_tokens="all").t2i, everything.t2i)
    for method in ("adafv", "t2i", "fixed_mix"):
        with pytest.raises(InputError, match=r'use text_tokens="all"'):
            get_method(method).select(everything, 5)


def test_tokens_per_crop_need_to_know_the_encoder_s_crops() -> None:
    method, several, one = get_method("saliency", per_crop=True), made_scores(crops=2), made_scores()
    with pytest.raises(InputError, match="per_crop needs the saliency by encoder crop, which a saved run"):
        method.select(bare(several), 6)
    assert torch.equal(method.select(bare(one), 6).indices, method.select(one, 6).indices)
    of_crop = torch.arange(2).repeat_interleave(16)
    known = replace(several, visual=replace(several.visual, encoder_crop=of_crop))
    assert torch.equal(method.select(bare(known), 6).indices, method.select(known, 6).indices)


def test_what_an_adapter_does_not_provide_is_named_as_that() -> None:
    scores = made_scores()
    lacking = replace(scores, visual=replace(scores.visual, vision_keys=None))
    with pytest.raises(
        InputError, match="adapter does not provide, nor does a budget shared by images: choose another"
    ):
        get_method("visionzip").select(lacking, 5)
