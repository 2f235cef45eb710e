"""Models whose weights lie elsewhere, towers without [CLS], and several threads on one model."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.models_shared import QUESTIONS, engine_of, folder_of, image_arguments, pictures
from helpers.tiny_families import NEWER
from helpers.tiny_models import picture
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForImageTextToText

import adafv_core
from adafv_core.engine import Engine
from adafv_core.errors import UnsupportedModelError
from adafv_core.models import adapter_for

ONE_EACH = ["llava", "llava_next_vicuna", "llava_onevision", *(family for family in NEWER if family != "qwen3_vl_moe")]


STOCK_FAILS = {
    ("llava_next_vicuna", "everything"): "image_newline, a weight of the base model itself, stays on disk",
    ("llava_onevision", "everything"): "image_newline, a weight of the base model itself, stays on disk",
    ("internvl", "embeddings"): "embeddings are tied to the head, which lies elsewhere",
    ("idefics3", "vision tower"): "embeddings are moved to the device of the model's first weight",
    ("idefics3", "everything"): "embeddings are moved to the device of the model's first weight",
}
"""Placements that stock transformers itself cannot run."""


def parts_of(model: Any) -> list[str]:
    """Names that together cover every weight: the children of the base model, the LLM's own children, and the head."""
    llm = next(name for name, child in model.model.named_children() if child is adapter_for(model).language_model)
    parts = [f"model.{name}" for name, _ in model.model.named_children() if name != llm]
    parts += [f"model.{name}" for name, _ in model.model.named_parameters(recurse=False)]
    parts += [f"model.{llm}.{name}" for name, _ in model.model.get_submodule(llm).named_children()]
    return [*parts, "lm_head"]


def _inputs(family: str, engine: Engine, image: Any) -> Any:
    nested = [[image]] if family in ("idefics3", "smolvlm", "llava_onevision") else [image]
    return engine.processor(images=nested, text=[engine.prompter.render(QUESTIONS[0])], return_tensors="pt")


@pytest.mark.parametrize("offloaded", ["vision tower", "embeddings", "layers", "everything"])
@pytest.mark.parametrize("family", ONE_EACH)
def test_what_accelerate_offloads_to_disk_prunes_as_before(family: str, offloaded: str, tmp_path: Path) -> None:
    engine, image = engine_of(family), picture(80, 60)
    parts = parts_of(engine.model)
    tower = next(name for name, child in engine.model.named_modules() if child is engine.adapter.tower)
    chosen = {
        "vision tower": {tower},
        "embeddings": {part for part in parts if part.endswith("embed_tokens")},
        "layers": {part for part in parts if part.endswith(".layers")},
        "everything": set(parts),
    }[offloaded]
    assert chosen <= set(parts)
    placement = {part: "disk" if part in chosen else "cpu" for part in parts}
    options: dict[str, Any] = {"device_map": placement, "offload_folder": str(tmp_path)}
    inputs = _inputs(family, engine, image)
    if (family, offloaded) in STOCK_FAILS:
        with pytest.raises((RuntimeError, NotImplementedError, ValueError), match="meta"):
            AutoModelForImageTextToText.from_pretrained(folder_of(family), **options).generate(**inputs)
        return
    model = AutoModelForImageTextToText.from_pretrained(folder_of(family), **options).eval()
    assert any(weight.is_meta for weight in model.parameters())
    options = {"max_new_tokens": 4, "do_sample": False}
    assert torch.equal(model.generate(**inputs, **options), engine.model.generate(**inputs, **options))
    for method in ("adafv", "fastv"):
        with adafv_core.prune(engine.model, budget=4, method=method, processor=engine.processor):
            expected = engine.model.generate(**inputs, **options)
        with adafv_core.prune(model, budget=4, method=method, processor=engine.processor):
            assert torch.equal(model.generate(**inputs, **options), expected)


@pytest.mark.parametrize("strategy", ["default", "full"])
@pytest.mark.parametrize("family", ["llava", "llava_siglip", "llava_next_vicuna", "llava_onevision", "internvl"])
def test_a_strategy_that_does_not_fit_the_tower_is_refused(family: str, strategy: str) -> None:
    """[CLS] passed on as a patch, or a patch dropped as if it were [CLS]: refused when the model is met."""
    engine = engine_of(family)
    model, had = engine.model, engine.model.config.vision_feature_select_strategy
    model.config.vision_feature_select_strategy = strategy
    try:
        if strategy == had:
            adapter_for(model)
        else:
            with pytest.raises(UnsupportedModelError, match=f"'{strategy}'.*expected '{had}'"):
                adapter_for(model)
    finally:
        model.config.vision_feature_select_strategy = had


@pytest.mark.parametrize("family", ["llava_next_vicuna", "qwen2_5_vl", "internvl", "smolvlm"])
def test_threads_encode_at_the_same_time(family: str) -> None:
    """On one model, through two adapters, while other threads run the stock encoder."""
    engine = engine_of(family)
    adapters = [engine.adapter, adapter_for(engine.model, engine.processor)]
    inputs = [engine.adapter.pixels([one]) for one in pictures()[2:]]
    alone = [engine.adapter.encode(one)[0] for one in inputs]

    def work(number: int) -> bool:
        place = number % len(inputs)
        if number % 4 == 3:
            arguments = image_arguments(engine.adapter, inputs[place])
            with torch.no_grad():
                engine.model.model.get_image_features(**arguments, return_dict=True)
            return True
        found = adapters[number % 2].encode(inputs[place])[0]
        same = torch.allclose(found.saliency, alone[place].saliency, atol=1e-6)
        return same and torch.allclose(found.features, alone[place].features, atol=1e-5)

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(72)))
    assert not any(module._forward_hooks for module in engine.adapter.modules().values())


@pytest.mark.parametrize("how", ["get_peft_model", "add_adapter"])
@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "qwen3_vl", "internvl", "idefics3"])
def test_low_rank_updates_by_peft_are_part_of_what_is_scored(family: str, how: str) -> None:
    """In vision tower and LLM: with everything kept, stock answers; saliency is that of the updated projections."""
    torch.manual_seed(3)
    model = AutoModelForImageTextToText.from_pretrained(folder_of(family)).eval()
    engine, image = engine_of(family), picture(80, 60)
    inputs = _inputs(family, engine, image)
    before = model.generate(**inputs, max_new_tokens=8, do_sample=False)
    lora = LoraConfig(r=4, lora_alpha=64, target_modules=r".*(q_proj|k_proj|qkv|up_proj)", init_lora_weights=False)
    outer = get_peft_model(model, lora).eval() if how == "get_peft_model" else model
    if how == "add_adapter":
        model.add_adapter(lora)
        model.eval()
    stock = outer.generate(**inputs, max_new_tokens=8, do_sample=False)
    assert not torch.equal(stock, before), "the update changes the answer"
    for method in ("adafv", "fastv"):
        with adafv_core.prune(outer, 1.0, method, engine.processor) as pruning:
            assert torch.equal(outer.generate(**inputs, max_new_tokens=8, do_sample=False), stock)
        with adafv_core.prune(outer, 0.3, method, engine.processor) as pruning:
            outer.generate(**inputs, max_new_tokens=8, do_sample=False)
        assert pruning.n_calls == 1 and 0 < pruning.totals.n_kept < pruning.totals.n_visual
    found = adapter_for(model, engine.processor).encode(engine.adapter.pixels([image]))[0]
    assert not torch.allclose(found.saliency, engine.encode(image).saliency, atol=1e-6)
