"""What a call means and returns inside a block is what it means and returns in stock transformers."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from helpers.models_shared import QUESTIONS, engine_of, folder_of, pictures, stock_inputs
from helpers.tiny_models import picture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoModelForImageTextToText, DynamicCache, GenerationConfig, LlamaConfig, LlamaForCausalLM

import adafv_core
from adafv_core.errors import InputError

GREEDY: dict[str, Any] = {"max_new_tokens": 4, "do_sample": False}
EVERYTHING: dict[str, Any] = {
    **GREEDY,
    "return_dict_in_generate": True,
    "output_scores": True,
    "output_logits": True,
    "output_hidden_states": True,
}


def tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, DynamicCache):
        for layer in value.layers:
            yield from (layer.keys, layer.values)
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from tensors(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from tensors(one)


@pytest.mark.parametrize("method", ["full", "adafv", "visionzip", "fastv"])
@pytest.mark.parametrize("family", ["llava", "llava_next_vicuna", "llava_onevision"])
def test_what_is_returned_can_be_used_as_in_stock(family: str, method: str) -> None:
    """Changed in place, and fed to something that is trained; also a cache that the caller passed in."""
    engine = engine_of(family)
    inputs = stock_inputs(engine, [picture(80, 60)], [QUESTIONS[0]])
    cache = DynamicCache(config=engine.model.config.get_text_config())
    with adafv_core.prune(engine.model, 0.3, method, engine.processor) as pruning:
        output = engine.model.generate(**inputs, **EVERYTHING, past_key_values=cache)
        plain = engine.model.generate(**inputs, **GREEDY)
    assert output.past_key_values is cache
    found = [plain, *tensors(output)]
    assert len(found) > 10 and not any(one.is_inference() for one in found)
    kept = [value for value in vars(pruning.selections[0][0]).values() if isinstance(value, Tensor)]
    assert kept and not any(one.is_inference() for one in kept)
    output.scores[0][:, 3] = -1e9
    probe = torch.nn.Linear(output.hidden_states[0][-1].shape[-1], 2)
    probe(output.hidden_states[0][-1][:, -1]).sum().backward()
    assert probe.weight.grad is not None


@pytest.mark.parametrize("family", ["llava", "llava_next_vicuna", "llava_onevision"])
def test_padding_is_inferred_without_a_mask(family: str) -> None:
    engine = engine_of(family)
    inputs = dict(stock_inputs(engine, pictures(), list(QUESTIONS)))
    assert bool((inputs["attention_mask"] == 0).any())
    without = {name: value for name, value in inputs.items() if name != "attention_mask"}
    for ratio in (1.0, 0.3):
        with adafv_core.prune(engine.model, ratio, processor=engine.processor) as pruning:
            masked = engine.model.generate(**inputs, **EVERYTHING)
            inferred = engine.model.generate(**without, **EVERYTHING)
        assert torch.equal(masked.sequences, inferred.sequences)
        assert torch.equal(masked.logits[0], inferred.logits[0])
        assert torch.equal(masked.pruned.selections[1][0].kept, pruning.selections[1][0].kept)
    assert torch.equal(engine.model.generate(**without, **GREEDY), masked_whole(engine, without))


def masked_whole(engine: Any, inputs: dict[str, Any]) -> Tensor:
    with adafv_core.prune(engine.model, 1.0, processor=engine.processor):
        output: Tensor = engine.model.generate(**inputs, **GREEDY)
    return output


@pytest.fixture(scope="module")
def loose_model() -> Any:
    """A model whose special tokens a test may set."""
    return AutoModelForImageTextToText.from_pretrained(folder_of("llava"))


IDS = st.sampled_from([None, 2, 3, 9, [2], [2, 3], [9, 3]])


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(pads=st.tuples(*[st.sampled_from([None, 2, 3, 9])] * 3), ends=st.tuples(*[IDS] * 3), config=st.booleans())
def test_padding_follows_the_rule_of_stock(
    loose_model: Any, pads: tuple[Any, ...], ends: tuple[Any, ...], config: bool
) -> None:
    """Wherever padding and end tokens are named: in the call, its generation config, or the model's."""
    engine = engine_of("llava")
    inputs = dict(stock_inputs(engine, [picture(80, 60), picture(60, 80, 1)], [QUESTIONS[3], QUESTIONS[1]]))
    del inputs["attention_mask"]
    loose_model.generation_config.pad_token_id, loose_model.generation_config.eos_token_id = pads[0], ends[0]
    call: dict[str, Any] = {"max_new_tokens": 2, "do_sample": False}
    if config:
        call = {"generation_config": GenerationConfig(**call, pad_token_id=pads[1], eos_token_id=ends[1])}
    call |= {name: value for name, value in (("pad_token_id", pads[2]), ("eos_token_id", ends[2])) if value is not None}
    extra = {"return_dict_in_generate": True, "output_logits": True}
    stock = loose_model.generate(**inputs, **call, **extra)
    with adafv_core.prune(loose_model, 1.0, processor=engine.processor):
        pruned = loose_model.generate(**inputs, **call, **extra)
    assert torch.equal(pruned.sequences, stock.sequences)
    assert torch.allclose(pruned.logits[0], stock.logits[0], atol=1e-5)


def test_a_mask_of_another_shape_is_refused() -> None:
    engine = engine_of("llava")
    inputs = dict(stock_inputs(engine, [picture(80, 60)], [QUESTIONS[0]]))
    inputs["attention_mask"] = inputs["attention_mask"][:, 1:]
    with (
        adafv_core.prune(engine.model, processor=engine.processor),
        pytest.raises(InputError, match="attention_mask must have the shape of input_ids"),
    ):
        engine.model.generate(**inputs, **GREEDY)


MEANINGS: dict[str, dict[str, Any]] = {
    "prompt lookup": {"prompt_lookup_num_tokens": 2},
    "guidance": {"guidance_scale": 1.7},
    "guidance without cache": {"guidance_scale": 1.7, "use_cache": False},
    "no repeated pairs": {"no_repeat_ngram_size": 2},
    "least length": {"min_new_tokens": 4},
    "forced end": {"forced_eos_token_id": 2},
    "suppressed": {"suppress_tokens": [5, 6, 7], "begin_suppress_tokens": [9]},
    "bad words": {"bad_words_ids": [[300], [301, 302]]},
    "decaying length": {"exponential_decay_length_penalty": (1, 1.5)},
    "beam groups": {"num_beams": 4, "early_stopping": True, "length_penalty": 0.5},
}


@pytest.mark.parametrize("method", ["full", "fastv"])
@pytest.mark.parametrize("meaning", MEANINGS)
def test_generation_options_keep_their_meaning(meaning: str, method: str) -> None:
    engine = engine_of("llava_next_vicuna")
    inputs = stock_inputs(engine, [picture(80, 60)], [QUESTIONS[0]])
    stock = engine.model.generate(**inputs, **{**GREEDY, **MEANINGS[meaning]})
    with adafv_core.prune(engine.model, 1.0, method, engine.processor):
        assert torch.equal(engine.model.generate(**inputs, **{**GREEDY, **MEANINGS[meaning]}), stock)


@pytest.mark.parametrize("method", ["adafv", "fastv"])
def test_guidance_is_the_difference_of_two_passes(method: str) -> None:
    """The second forward pass of each step, which knows no image, is not pruned."""
    engine = engine_of("llava_next_vicuna")
    inputs = stock_inputs(engine, [picture(80, 60)], [QUESTIONS[0]])
    call = {**EVERYTHING, "max_new_tokens": 1}
    with adafv_core.prune(engine.model, 0.3, method, engine.processor):
        plain = engine.model.generate(**inputs, **call)
        guided = engine.model.generate(**inputs, **call, guidance_scale=1.5)
    alone = engine.model(inputs["input_ids"][:, -1:]).logits[:, -1].detach().log_softmax(-1)
    expected = 1.5 * (plain.logits[0].log_softmax(-1) - alone) + alone
    assert torch.allclose(guided.scores[0], expected, atol=1e-4)


def test_an_assistant_model_proposes_as_in_stock() -> None:
    engine = engine_of("llava")
    text = engine.model.config.text_config.to_dict()
    torch.manual_seed(1)
    assistant = LlamaForCausalLM(LlamaConfig(**{**text, "num_hidden_layers": 1})).eval()
    assistant.generation_config.eos_token_id = None
    inputs = stock_inputs(engine, [picture(80, 60)], [QUESTIONS[0]])
    stock = engine.model.generate(**inputs, **GREEDY, assistant_model=assistant)
    with adafv_core.prune(engine.model, 1.0, processor=engine.processor):
        assert torch.equal(engine.model.generate(**inputs, **GREEDY, assistant_model=assistant), stock)


def test_arguments_by_position() -> None:
    engine = engine_of("llava")
    inputs = dict(stock_inputs(engine, [picture(80, 60)], [QUESTIONS[0]]))
    ids = inputs.pop("input_ids")
    config = GenerationConfig(max_new_tokens=3, do_sample=False)

    def allowed(row: int, given: Tensor) -> list[int]:
        return list(range(300, 310))

    with adafv_core.prune(engine.model, 1.0, processor=engine.processor) as pruning:
        by_position = engine.model.generate(ids, config, None, None, allowed, **inputs)
        with pytest.raises(TypeError, match="multiple values"):
            engine.model.generate(ids, config, generation_config=config, **inputs)
    assert torch.equal(by_position, engine.model.generate(ids, config, None, None, allowed, **inputs))
    assert pruning.n_calls == 1


@pytest.mark.parametrize("method", ["adafv", "fastv"])
def test_a_budget_above_an_images_tokens_keeps_it_whole_and_says_so(method: str) -> None:
    engine = engine_of("llava_next_vicuna")
    small, large = picture(300, 40), picture(80, 60)
    sizes = [engine.encode(one).size for one in (small, large)]
    budget = min(sizes) + 3
    assert min(sizes) < budget < max(sizes)
    inputs = stock_inputs(engine, [small, large], list(QUESTIONS[:2]))
    first = sizes.index(min(sizes))
    with adafv_core.prune(engine.model, budget=budget, method=method, processor=engine.processor) as pruning:
        with pytest.warns(UserWarning, match=f"{min(sizes)} visual tokens, fewer than the budget of {budget}"):
            output = engine.model.generate(**inputs, **EVERYTHING)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            engine.model.generate(**inputs, **GREEDY)
    assert [row[0].size for row in output.pruned.selections] == [min(one, budget) for one in sizes]
    assert output.pruned.below_budget == ((first, 0),)
    assert output.pruned.n_visual == tuple((one,) for one in sizes)
    totals = pruning.totals
    assert (totals.n_calls, totals.n_images, totals.n_below_budget) == (2, 4, 2)
    assert (totals.n_visual, totals.n_kept) == (2 * sum(sizes), 2 * (min(sizes) + budget))


def test_entering_again_is_fast() -> None:
    """The processor beside the files is read once per model."""
    model = AutoModelForImageTextToText.from_pretrained(folder_of("llava_next_vicuna"))
    processors, entries_s = [], []
    for _ in range(30):
        started_s = time.perf_counter()
        with adafv_core.prune(model) as pruning:
            entries_s.append(time.perf_counter() - started_s)
            processors.append((pruning.adapter.processor, pruning.find_question))
    assert all(one == processors[0] for one in processors) and processors[0][1] is not None
    assert min(entries_s[1:]) < 1e-3 < entries_s[0]


def test_another_template_is_noticed() -> None:
    engine = engine_of("llava")
    before = engine.processor.chat_template
    try:
        for name in ("USER:", "HUMAN:", "USER:"):
            engine.processor.chat_template = before.replace("USER:", name)
            ids = engine.tokenizer(f"{name} <image>\nHow many? ASSISTANT:")["input_ids"]
            with adafv_core.prune(engine.model, processor=engine.processor) as pruning:
                assert pruning.find_question is not None
                counted = [one for one, counts in zip(ids, pruning.find_question(ids), strict=True) if counts]
            assert engine.tokenizer.decode(counted).strip() == "How many?"
    finally:
        engine.processor.chat_template = before
