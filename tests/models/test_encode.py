"""What the adapters say about an image, against stock transformers with attention written out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers.models_shared import ANYRES, QUESTIONS, SHAPES, engine_of, folder_of, pictures, stock_inputs, until_end
from helpers.tiny_models import FAMILIES, picture
from torch.nn import functional
from transformers import AutoModelForImageTextToText

from adafv_core.engine import load
from adafv_core.grid import stock_positions, token_boxes
from adafv_core.models import ADAPTERS, adapter_for
from adafv_core.types import VisualTokens

EVERY = [(family, shape) for family in FAMILIES for shape in SHAPES]


def encoded(family: str, shape: str) -> VisualTokens:
    return engine_of(family).encode(picture(*SHAPES[shape]))


def one_input(family: str, shape: str) -> Any:
    return stock_inputs(engine_of(family), [picture(*SHAPES[shape])], [QUESTIONS[0]])


@pytest.mark.parametrize(("family", "shape"), EVERY)
def test_features_are_those_of_stock(family: str, shape: str) -> None:
    """All M features in stock order and number; without newlines they are the N that are scored."""
    engine, visual, inputs = engine_of(family), encoded(family, shape), one_input(family, shape)
    arguments = {name: inputs[name] for name in ("pixel_values", "image_sizes") if name in inputs}
    with torch.inference_mode():
        stock = engine.model.model.get_image_features(**arguments, return_dict=True).pooler_output[0]
    assert torch.equal(visual.stock_features, stock)
    assert (inputs["input_ids"] == engine.adapter.image_token_id).sum() == stock.shape[0]
    kept = torch.ones(stock.shape[0], dtype=torch.bool)
    if visual.newline_after is not None:
        kept[visual.newline_after + 1 + torch.arange(visual.newline_after.numel())] = False
        assert torch.equal(stock[~kept], visual.newline.expand(int((~kept).sum()), -1))
        assert torch.equal(visual.newline, engine.model.model.image_newline)
    assert torch.equal(visual.features, stock[kept])
    assert visual.grid.size == visual.size == visual.saliency.shape[0]
    assert visual.vision_features.shape[0] == visual.vision_keys.shape[0] == visual.size


@pytest.mark.parametrize(("family", "shape"), EVERY)
def test_saliency_is_the_attention_of_the_feature_layer(family: str, shape: str) -> None:
    """Against `output_attentions` of an eager model: attentions[-2] leaves hidden_states[-2]."""
    visual, inputs = encoded(family, shape), one_input(family, shape)
    eager = AutoModelForImageTextToText.from_pretrained(folder_of(family), attn_implementation="eager").eval()
    pixels = inputs["pixel_values"]
    crops = pixels[0] if pixels.dim() == 5 else pixels
    layer = eager.config.vision_feature_layer
    with torch.inference_mode():
        attention = eager.model.vision_tower(crops, output_attentions=True).attentions[layer]
    has_cls = attention.shape[-1] == (SIDE_TOKENS + 1)
    expected = attention[:, :, 0, 1:].mean(1) if has_cls else attention.mean((1, 2))
    assert torch.allclose(visual.cls_attention, expected, atol=1e-6)
    assert visual.cls_attention.dtype == torch.float32
    assert visual.saliency_source == ("[CLS] attention" if has_cls else "attention received")


SIDE_TOKENS = 16


@pytest.mark.parametrize(("family", "shape"), [(family, shape) for family in ANYRES for shape in SHAPES])
def test_saliency_takes_the_same_way_as_the_features(family: str, shape: str) -> None:
    """Rebuilt by hand: base crop, then tiles laid out, cut to the picture and (OneVision) shrunk bilinearly."""
    engine, visual, inputs = engine_of(family), encoded(family, shape), one_input(family, shape)
    base, tiles = visual.grid.crops
    side = 4
    assert torch.equal(visual.saliency[: base.size], visual.cls_attention[0])
    height, width = inputs["image_sizes"][0].tolist()
    best = _best_resolution((height, width), engine.model.config.image_grid_pinpoints)
    down, across = best[0] // 56, best[1] // 56
    canvas = torch.zeros(down * side, across * side)
    for number, tile in enumerate(visual.cls_attention[1:]):
        row, col = divmod(number, across)
        canvas[row * side : (row + 1) * side, col * side : (col + 1) * side] = tile.reshape(side, side)
    scale = min(best[0] / height, best[1] / width)
    cut_y = (canvas.shape[0] - int(round(height * scale * side / 56, 7))) // 2 if scale == best[1] / width else 0
    cut_x = (canvas.shape[1] - int(round(width * scale * side / 56, 7))) // 2 if scale == best[0] / height else 0
    canvas = canvas[cut_y : canvas.shape[0] - cut_y, cut_x : canvas.shape[1] - cut_x]
    if canvas.shape != (tiles.rows, tiles.cols):
        assert family == "llava_onevision"
        canvas = functional.interpolate(canvas[None, None], (tiles.rows, tiles.cols), mode="bilinear")[0, 0]
    assert torch.allclose(visual.saliency[base.size :], canvas.flatten(), atol=1e-7)


def _best_resolution(size: tuple[int, int], choices: list[list[int]]) -> list[int]:
    """Most of the picture kept, then least waste."""

    def quality(choice: list[int]) -> tuple[int, int]:
        scale = min(choice[1] / size[1], choice[0] / size[0])
        shown = min(int(size[1] * scale) * int(size[0] * scale), size[0] * size[1])
        return shown, shown - choice[0] * choice[1]

    return max(choices, key=quality)


def test_a_large_picture_is_shrunk_by_onevision() -> None:
    """Four by four tiles are more than anyres_max_4 allows."""
    visual = engine_of("llava_onevision").encode(picture(400, 400))
    base, tiles = visual.grid.crops
    assert visual.cls_attention.shape[0] == 17
    assert (tiles.rows, tiles.cols) == (8, 8) and visual.size == base.size + 64
    assert tiles.box == pytest.approx((0, 0, 400, 400))
    assert torch.isfinite(visual.saliency).all()


@pytest.mark.parametrize(("family", "shape"), [(family, shape) for family in ANYRES for shape in SHAPES])
def test_boxes_cover_the_picture(family: str, shape: str) -> None:
    """Both crops cover the whole picture, and reach beyond it by less than a token a side."""
    visual = encoded(family, shape)
    width, height = visual.grid.image_size
    assert (width, height) == SHAPES[shape]
    boxes = token_boxes(visual.grid)
    for crop in visual.grid.crops:
        cells = boxes[crop.offset : crop.offset + crop.size]
        cell_width, cell_height = (cells[0, 2] - cells[0, 0]), (cells[0, 3] - cells[0, 1])
        assert -cell_width < cells[:, 0].min() <= cell_width / 2
        assert width - cell_width / 2 <= cells[:, 2].max() < width + cell_width
        assert -cell_height < cells[:, 1].min() <= cell_height / 2
        assert height - cell_height / 2 <= cells[:, 3].max() < height + cell_height


@pytest.mark.parametrize("family", ["llava", *ANYRES])
def test_boxes_point_at_the_pixels_that_were_seen(family: str) -> None:
    """A bright spot changes the encoder's input most in the tokens whose boxes hold it."""
    engine = engine_of(family)
    dark, bright = picture(112, 112), picture(112, 112)
    bright.paste((255, 255, 255), (84, 28, 112, 56))
    before, after = (engine.adapter.pixels([image])["pixel_values"].reshape(-1, 3, 56, 56) for image in (dark, bright))
    changed = functional.avg_pool2d((after - before).abs().sum(1, keepdim=True), 14).flatten(1)
    visual = engine.encode(bright)
    inputs = stock_inputs(engine, [bright], [QUESTIONS[0]])
    packed = engine.adapter.pack(changed[..., None], inputs, 0, None)[:, 0]
    boxes = token_boxes(visual.grid)
    inside = (boxes[:, 0] >= 83.9) & (boxes[:, 2] <= 112.1) & (boxes[:, 1] >= 27.9) & (boxes[:, 3] <= 56.1)
    outside = (boxes[:, 2] <= 80) | (boxes[:, 1] >= 60) | (boxes[:, 3] <= 24)
    assert inside.any() and packed[inside].min() > 20 * packed[outside].max().clamp(min=1e-3)


@pytest.mark.parametrize("shape", [(1000, 60), (60, 1000), (20, 4000), (4000, 20)])
@pytest.mark.parametrize("family", ANYRES)
def test_a_strip_of_a_picture_has_no_crop_without_tokens(family: str, shape: tuple[int, int]) -> None:
    """Un-padding leaves no tile token: stock packs the base crop, and for tall pictures newlines of empty rows."""
    engine, image = engine_of(family), picture(*shape)
    visual = engine.encode(image)
    assert [crop.name for crop in visual.grid.crops] == ["base"] and visual.grid.crops[0].size == visual.size == 16
    inputs = stock_inputs(engine, [image], [QUESTIONS[0]])
    arguments = {name: inputs[name] for name in ("pixel_values", "image_sizes")}
    with torch.inference_mode():
        stock = engine.model.model.get_image_features(**arguments, return_dict=True).pooler_output[0]
    assert torch.equal(visual.stock_features, stock)
    newlines = 0 if visual.newline_after is None else visual.newline_after.numel()
    assert (newlines > 0) is (shape[1] > shape[0]) and visual.size + newlines == stock.shape[0]
    tokens, breaks = stock_positions(visual.size, visual.newline_after)
    assert torch.equal(visual.features, stock[tokens])
    assert sorted(torch.cat((tokens, breaks)).tolist()) == list(range(stock.shape[0]))
    with torch.inference_mode():
        made = engine.model.generate(**inputs, max_new_tokens=4, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert engine.answer(image, QUESTIONS[0], 1.0, max_new_tokens=4).token_ids == until_end(engine, made.tolist())
    assert engine.answer(image, QUESTIONS[0], 0.3, max_new_tokens=2).n_kept == 5


@pytest.mark.parametrize("family", ANYRES)
def test_every_token_knows_its_encoder_crop(family: str) -> None:
    visual = engine_of(family).encode(picture(112, 112))
    base, tiles = visual.grid.crops
    for index in range(visual.size):
        crop = tiles if index >= tiles.offset else base
        row, col = divmod(index - crop.offset, crop.cols)
        across = tiles.cols // 4
        expected = 0 if crop is base else 1 + (row // 4) * across + col // 4
        if visual.cls_attention.shape[0] == 5:
            assert visual.encoder_crop[index] == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_the_encoder_runs_once_for_all_that_is_asked(family: str) -> None:
    engine = load(folder_of(family), device="cpu")
    runs = []
    handle = engine.model.model.vision_tower.register_forward_hook(lambda *_: runs.append(1))
    image = picture(80, 60)
    for question in QUESTIONS:
        engine.answer(image, question, 0.3, max_new_tokens=2)
    engine.encode(picture(80, 60))
    handle.remove()
    assert len(runs) == 1
    assert engine.encode(image) is engine.encode(picture(80, 60))


@pytest.mark.parametrize("family", FAMILIES)
def test_encoding_together_equals_one_by_one(family: str) -> None:
    engine = load(folder_of(family), device="cpu")
    alone = [engine.encode(image) for image in pictures()]
    engine.cache.clear()
    for one, other in zip(alone, engine.encode_many(pictures()), strict=True):
        assert torch.allclose(one.stock_features, other.stock_features, atol=1e-5)
        assert torch.allclose(one.saliency, other.saliency, atol=1e-6)
        assert one.grid == other.grid and one.image_key == other.image_key


def test_no_hook_is_left_behind() -> None:
    engine = load(folder_of("llava"), device="cpu")
    engine.answer(picture(80, 60), QUESTIONS[0], max_new_tokens=2)
    tower = engine.model.model.vision_tower
    attention = engine.adapter.layer.self_attn
    for module in (attention.q_proj, attention.k_proj, engine.model.model.multi_modal_projector, engine.model.lm_head):
        assert not module._forward_hooks
    assert attention is tower.encoder.layers[-2].self_attn


def test_every_listed_class_finds_its_adapter() -> None:
    for family in FAMILIES:
        model = engine_of(family).model
        assert type(adapter_for(model)) is ADAPTERS[type(model).__name__]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("feature_layer", [-2, [-3, -2], [1, 2], -1])
def test_layers_behind_the_feature_layer_do_not_run(
    family: str, feature_layer: int | list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Features are bit for bit those of a whole stock call, which runs every layer again afterwards."""
    engine = engine_of(family)
    monkeypatch.setattr(engine.model.config, "vision_feature_layer", feature_layer)
    if isinstance(feature_layer, list):  # a projector that takes the features of two layers
        projector = engine.model.model.multi_modal_projector
        name, narrow = next(named for named in projector.named_children() if hasattr(named[1], "in_features"))
        monkeypatch.setitem(projector._modules, name, torch.nn.Linear(2 * narrow.in_features, narrow.out_features))
    adapter = adapter_for(engine.model, engine.processor)
    count, last = len(adapter.layers), max([feature_layer] if isinstance(feature_layer, int) else feature_layer)
    needed = last + count + 1 if last < 0 else last
    assert len(adapter.unused_layers) == count - needed
    ran = _count_layers(adapter.layers, monkeypatch)
    pixels = adapter.pixels([picture(90, 60)])
    visual = adapter.encode(pixels)[0]
    assert ran == list(range(needed))
    ran.clear()
    arguments = {name: pixels[name] for name in adapter.PIXEL_NAMES if name in pixels}
    with torch.inference_mode():
        stock = engine.model.model.get_image_features(**arguments, return_dict=True).pooler_output[0]
    assert ran == list(range(count)) and torch.equal(visual.stock_features, stock)
    assert not any("forward" in vars(layer) for layer in adapter.layers)


def test_layers_are_put_back_after_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_of("llava")
    with pytest.raises(ValueError, match="unpack"):
        engine.adapter.encode({"pixel_values": torch.zeros(1, 3, 8)})
    ran = _count_layers(engine.adapter.layers, monkeypatch)
    with torch.inference_mode():
        engine.model.model.get_image_features(pixel_values=torch.zeros(1, 3, 56, 56))
    assert ran == list(range(len(engine.adapter.layers)))


def _count_layers(layers: torch.nn.ModuleList, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the layers whose attention runs, in order, from now on."""
    ran: list[int] = []
    for number, layer in enumerate(layers):
        forward = layer.self_attn.forward

        def counted(*args: Any, number: int = number, forward: Any = forward, **kwargs: Any) -> Any:
            ran.append(number)
            return forward(*args, **kwargs)

        monkeypatch.setattr(layer.self_attn, "forward", counted)
    return ran
