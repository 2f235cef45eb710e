"""Models whose LLM is loaded in 8 or 4 bits: what changes, what does not, and where it is refused."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from bitsandbytes.nn import Linear4bit, Linear8bitLt
from helpers.models_shared import QUESTIONS, engine_of, folder_of
from helpers.tiny_families import NEWER
from helpers.tiny_models import picture
from torch import nn

import adafv_core
from adafv_core.engine import load
from adafv_core.errors import InputError, UnknownNameError
from adafv_core.loading.quantization import check_quantization

LAYERS = {"8bit": Linear8bitLt, "4bit": Linear4bit}
FAMILIES = [*NEWER, "llava_next_vicuna"]


@pytest.mark.parametrize(("family", "quantization"), list(zip(FAMILIES, list(LAYERS) * 4, strict=True)))
def test_the_llm_is_quantized_and_what_scores_is_not(family: str, quantization: str) -> None:
    engine, image = load(folder_of(family), device="cpu", quantization=quantization), picture(80, 60)
    whole = engine_of(family)
    kinds = {name: type(module) for name, module in engine.model.named_modules() if isinstance(module, nn.Linear)}
    llm = {name for name in kinds if name.startswith(f"model.{engine.adapter.LANGUAGE_MODEL}.")}
    assert {kinds[name] for name in llm} == {LAYERS[quantization]}
    assert {kind for name, kind in kinds.items() if name not in llm} <= {
        type(module) for module in whole.model.modules() if isinstance(module, nn.Linear)
    }
    scores, expected = (one.score(one.encode(image), QUESTIONS[0]) for one in (engine, whole))
    assert torch.equal(scores.t2i, expected.t2i) and torch.equal(scores.saliency, expected.saliency)
    assert engine.weights != whole.weights
    for method in ("adafv", "fastv"):
        answer = engine.answer(image, QUESTIONS[0], 0.4, method, 3)
        assert len(answer.token_ids) >= 1 and torch.isfinite(answer.first_logprobs).all()


@pytest.mark.parametrize(("quantization", "most"), [("8bit", 0.02), ("4bit", 0.5)])
def test_a_quantized_model_answers_nearly_as_the_whole_one(quantization: str, most: float) -> None:
    """The bundled model, whose answers mean something: KL of the first token, and the answer itself."""
    engine, whole = (load("pocket", device="cpu", quantization=one) for one in (quantization, None))
    image = adafv_core.bundled.ASSETS / "example.png"
    answers = [one.answer(image, "What shape is the yellow thing?", 0.1) for one in (whole, engine)]
    assert [one.text for one in answers] == ["ring", "ring"]
    exact, near = (one.first_logprobs for one in answers)
    assert 0 < float((exact.exp() * (exact - near)).sum()) < most
    assert torch.equal(answers[0].selection.indices, answers[1].selection.indices)
    assert _bytes(engine.model) < _bytes(whole.model)


def _bytes(model: nn.Module) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


def test_prune_works_on_a_quantized_model() -> None:
    engine = load(folder_of("qwen2_5_vl"), device="cpu", quantization="4bit")
    inputs = engine.processor(
        images=[picture(80, 60)], text=[engine.prompter.render(QUESTIONS[0])], return_tensors="pt"
    )
    stock = engine.model.generate(**inputs, max_new_tokens=4, do_sample=False)
    with adafv_core.prune(engine.model, 1.0, processor=engine.processor):
        assert torch.equal(engine.model.generate(**inputs, max_new_tokens=4, do_sample=False), stock)


def test_where_it_is_not_possible_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError, match=r"quantization must be one of 8bit, 4bit; got '2bit'"):
        load("pocket", device="cpu", quantization="2bit")
    with pytest.raises(InputError, match=r"'8bit' runs on cuda and cpu; got the device mps"):
        check_quantization("8bit", torch.device("mps"))
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else found(name))
    with pytest.raises(InputError, match=r"'4bit' needs bitsandbytes; run: pip install bitsandbytes$"):
        load("pocket", device="cpu", quantization="4bit")
    assert load("pocket", device="cpu").answer(picture(80, 60), "How many?", 0.1).n_kept == 20
