"""Pictures of any shape, several at once, in any dtype, for the families beyond LLaVA."""

from __future__ import annotations

import pytest
import torch
from helpers.models_shared import QUESTIONS, engine_of, folder_of, until_end
from helpers.tiny_families import NEWER
from helpers.tiny_models import picture

from adafv_core.engine import load
from adafv_core.errors import ImageError
from adafv_core.grid import token_boxes

STRIPS = [(900, 30), (30, 900), (3, 5), (1, 1), (640, 480)]


@pytest.mark.parametrize("size", STRIPS, ids=str)
@pytest.mark.parametrize("family", NEWER)
def test_a_strip_or_a_dot_answers_as_stock(family: str, size: tuple[int, int]) -> None:
    engine, image = engine_of(family), picture(*size)
    nested = [[image]] if family in ("idefics3", "smolvlm") else [image]
    inputs = engine.processor(images=nested, text=[engine.prompter.render(QUESTIONS[0])], return_tensors="pt")
    with torch.inference_mode():
        stock = engine.model.generate(**inputs, max_new_tokens=3, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert engine.answer(image, QUESTIONS[0], 1.0, max_new_tokens=3).token_ids == until_end(engine, stock.tolist())
    assert engine.answer(image, QUESTIONS[0], budget=1, max_new_tokens=2).n_kept == 1
    grid = engine.encode(image).grid
    boxes = token_boxes(grid)
    assert grid.image_size == size
    assert boxes[:, :2].amin() == 0 and (boxes[:, 2].amax(), boxes[:, 3].amax()) == size


@pytest.mark.parametrize("family", [family for family in NEWER if family.startswith("qwen")])
def test_a_shape_that_the_processor_refuses_is_named(family: str) -> None:
    with pytest.raises(ImageError, match="aspect ratio"):
        engine_of(family).encode(picture(2100, 10))


@pytest.mark.parametrize("family", NEWER)
def test_pictures_encoded_together_equal_one_by_one_and_the_encoder_runs_once(family: str) -> None:
    engine = load(folder_of(family), device="cpu")
    several = [picture(80, 60), picture(60, 200, 1), picture(56, 56, 2)]
    alone = [engine.encode(one) for one in several]
    engine.cache.clear()
    runs: list[int] = []
    handle = engine.adapter.tower.register_forward_hook(lambda *_: runs.append(1))
    together = engine.encode_many(several)
    for question in QUESTIONS[:2]:
        engine.answer(several[0], question, 0.3, max_new_tokens=2)
    handle.remove()
    assert len(runs) == 1
    for one, other in zip(alone, together, strict=True):
        assert one.grid == other.grid and one.image_key == other.image_key
        assert torch.allclose(one.stock_features, other.stock_features, atol=1e-5)
        assert torch.allclose(one.saliency, other.saliency, atol=1e-6)
        assert torch.allclose(one.vision_keys, other.vision_keys, atol=1e-5)
        assert torch.allclose(one.vision_features, other.vision_features, atol=1e-5)
    assert not any(module._forward_hooks for module in engine.adapter.modules().values())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("family", NEWER)
def test_half_precision_scores_in_float32(family: str, dtype: str) -> None:
    engine, image = load(folder_of(family), device="cpu", dtype=dtype), picture(80, 60)
    visual = engine.encode(image)
    assert visual.features.dtype == getattr(torch, dtype) and visual.saliency.dtype == torch.float32
    assert torch.isfinite(visual.saliency).all()
    exact = engine_of(family).encode(image)
    assert torch.allclose(visual.saliency, exact.saliency, rtol=0.2, atol=0.02)
    for method in ("adafv", "fastv"):
        assert engine.answer(image, QUESTIONS[0], budget=3, method=method, max_new_tokens=2).n_kept == 3
