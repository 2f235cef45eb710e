"""Pruning inside the LLM against a slow, obvious version: full attention with the dropped keys masked out.

The reference never removes a token. It runs eager attention over the whole prompt for every new token, without a
cache, reads the attention of layer − 1 from `output_attentions`, and from `layer` on hides dropped keys from everyone.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers.models_shared import QUESTIONS, engine_of, folder_of, stock_inputs
from helpers.tiny_models import FAMILIES, picture
from transformers import AutoModelForImageTextToText

import adafv_core
from adafv_core.engine import load
from adafv_core.errors import InputError, UnsupportedModelError

STEPS = 6


def reference(family: str, budget: int, layer: int, newline: str) -> tuple[list[int], torch.Tensor, torch.Tensor]:
    """New tokens, first-step log-probabilities and kept tokens of the slow version."""
    engine, image = engine_of(family), picture(80, 60)
    model = AutoModelForImageTextToText.from_pretrained(folder_of(family), attn_implementation="eager").eval()
    visual, inputs = engine.encode(image), stock_inputs(engine, [image], [QUESTIONS[0]])
    ids = inputs["input_ids"]
    places = (ids[0] == engine.adapter.image_token_id).nonzero()[:, 0]
    is_newline = torch.zeros(len(places), dtype=torch.bool)
    if visual.newline_after is not None:
        is_newline[visual.newline_after + 1 + torch.arange(visual.newline_after.numel())] = True
    with torch.inference_mode():
        whole = model(**inputs, output_attentions=True)
        ranked = whole.attentions[layer - 1][0, :, -1].mean(0)[places[~is_newline]]
        kept = torch.zeros(visual.size, dtype=torch.bool)
        kept[ranked.sort(descending=True, stable=True).indices[:budget]] = True
        stays = torch.zeros(len(places), dtype=torch.bool)
        stays[~is_newline] = kept
        if newline == "rows":
            for number, after in enumerate(visual.newline_after.tolist()):
                base = visual.grid.crops[0].size
                cols = visual.grid.crops[1].cols
                row = slice(base + number * cols, base + (number + 1) * cols)
                stays[after + 1 + number] = bool(kept[row].any())
        hidden = torch.zeros(ids.shape[1], dtype=torch.bool)
        hidden[places[~stays]] = True
        new: list[int] = []
        first = None
        for _ in range(STEPS):
            row = torch.cat((ids, torch.tensor([new], dtype=torch.long)), dim=1)
            logits = _masked(model, {**inputs, "input_ids": row}, hidden, layer)
            first = logits.log_softmax(-1) if first is None else first
            new.append(int(logits.argmax()))
            if new[-1] == model.generation_config.eos_token_id:
                break
    assert first is not None
    return new, first, kept


def _masked(model: Any, inputs: dict[str, Any], hidden: torch.Tensor, layer: int) -> torch.Tensor:
    """Last logits with `hidden` keys invisible from `layer` on."""

    def hide(module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        mask = kwargs["attention_mask"].clone()
        mask[..., : hidden.numel()][..., hidden] = torch.finfo(mask.dtype).min
        return args, {**kwargs, "attention_mask": mask}

    layers = model.model.language_model.layers[layer:]
    handles = [one.register_forward_pre_hook(hide, with_kwargs=True) for one in layers]
    length = inputs["input_ids"].shape[1]
    result = model(**{**inputs, "attention_mask": torch.ones(1, length, dtype=torch.long)}, use_cache=False)
    for handle in handles:
        handle.remove()
    return result.logits[0, -1]


CASES = [(family, layer, "drop") for family in FAMILIES for layer in (1, 2, 3)]
CASES += [("llava_next_vicuna", 2, "rows"), ("llava_onevision", 2, "rows")]


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
@pytest.mark.parametrize(("family", "layer", "newline"), CASES)
def test_equal_to_masking_the_dropped_keys(family: str, layer: int, newline: str, backend: str) -> None:
    """Prefill and decoding with a shorter cache, on both backends, single and in a padded batch."""
    new, first, kept = reference(family, 5, layer, newline)
    engine = load(folder_of(family), device="cpu", attn_implementation=backend)
    options: dict[str, Any] = {"method": "fastv", "layer": layer, "newline": newline, "max_new_tokens": STEPS}
    alone = engine.answer(picture(80, 60), QUESTIONS[0], budget=5, **options)
    asks = [(picture(60, 200, 3), QUESTIONS[3]), (picture(80, 60), QUESTIONS[0])]
    for answer in (alone, engine.answer_batch(asks, budget=5, **options)[1]):
        assert torch.equal(answer.selection.kept, kept)
        assert torch.allclose(answer.first_logprobs, first, atol=2e-4)
        assert list(answer.token_ids) == new


def test_later_layers_hold_a_shorter_cache_and_positions_stay() -> None:
    engine = engine_of("llava")
    inputs = stock_inputs(engine, [picture(80, 60)], [QUESTIONS[0]])
    length = inputs["input_ids"].shape[1]
    with adafv_core.prune(engine.model, budget=4, method="fastv", processor=engine.processor):
        output = engine.model.generate(
            **inputs, max_new_tokens=3, min_new_tokens=3, do_sample=False, return_dict_in_generate=True
        )
    held = [output.past_key_values.get_seq_length(layer) for layer in range(4)]
    assert held == [length + 2, length + 2, length + 2 - 12, length + 2 - 12]


def test_keeping_all_is_stock() -> None:
    engine = engine_of("llava_next_vicuna")
    whole = engine.answer(picture(80, 60), QUESTIONS[0], 1.0, max_new_tokens=6)
    inside = engine.answer(picture(80, 60), QUESTIONS[0], 1.0, method="fastv", max_new_tokens=6)
    assert inside.token_ids == whole.token_ids and inside.n_newline == whole.n_newline
    assert inside.prefill_flops == whole.prefill_flops


def test_the_answer_counts_each_layer_for_itself() -> None:
    engine = engine_of("llava")
    answer = engine.answer(picture(80, 60), QUESTIONS[0], budget=4, method="fastv", max_new_tokens=2)
    whole = engine.answer(picture(80, 60), QUESTIONS[0], 1.0, max_new_tokens=2)
    short = engine.answer(picture(80, 60), QUESTIONS[0], budget=4, max_new_tokens=2)
    assert answer.selection.report["layer_averaged_budget"] == 10
    assert answer.kv_cache_bytes * 2 == whole.kv_cache_bytes + short.kv_cache_bytes
    assert short.prefill_flops < answer.prefill_flops < whole.prefill_flops


def test_selecting_ahead_equals_selecting_on_the_way() -> None:
    engine, image = engine_of("llava_next_mistral"), picture(80, 60)
    scores = engine.score(engine.encode(image), QUESTIONS[0])
    ahead = engine.select(scores, budget=6, method="fastv")
    answer = engine.answer(image, QUESTIONS[0], budget=6, method="fastv", max_new_tokens=4)
    assert torch.equal(ahead.kept, answer.selection.kept)
    told = engine.answer(image, QUESTIONS[0], selection=ahead, max_new_tokens=4)
    assert told.token_ids == answer.token_ids and told.prefill_flops == answer.prefill_flops


def test_no_attention_is_asked_for_and_no_hook_stays() -> None:
    """Layers keep their backend: nobody passes output_attentions, and SDPA stays SDPA."""
    engine = load(folder_of("llava"), device="cpu")
    asked: list[Any] = []
    for layer in engine.adapter.language_model.layers:
        layer.self_attn.register_forward_hook(lambda module, args, output: asked.append(output[1]))
    engine.answer(picture(80, 60), QUESTIONS[0], method="fastv", max_new_tokens=3)
    assert asked and all(weights is None for weights in asked)
    assert engine.model.config.text_config._attn_implementation == "sdpa"
    for layer in engine.adapter.language_model.layers:
        assert not layer._forward_pre_hooks and len(layer.self_attn._forward_hooks) == 1
        assert not layer.self_attn.q_proj._forward_hooks and not layer.self_attn.k_proj._forward_hooks


def test_what_it_cannot_do_is_said() -> None:
    engine = load(folder_of("llava_next_mistral"), device="cpu")
    inputs = stock_inputs(engine, [picture(80, 60)], [QUESTIONS[0]])
    with adafv_core.prune(engine.model, method="fastv", processor=engine.processor):
        with pytest.raises(InputError, match="grows"):
            engine.model.generate(**inputs, max_new_tokens=2, cache_implementation="static")
        with pytest.raises(InputError, match="one prefill"):
            engine.model.generate(**inputs, max_new_tokens=2, prefill_chunk_size=8)
    engine.model.config.text_config.sliding_window = 16
    with pytest.raises(UnsupportedModelError, match="16"):
        engine.answer(picture(80, 60), QUESTIONS[0], method="fastv")
