"""Every family against stock: nothing pruned is stock; pruned is stock with the dropped tokens masked out."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import pytest
import torch
from helpers.models_shared import QUESTIONS, engine_of, folder_of, image_arguments, until_end
from helpers.tiny_families import NEWER
from helpers.tiny_models import FAMILIES as LLAVA
from helpers.tiny_models import picture
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForImageTextToText

import adafv_core
from adafv_core.engine import Engine
from adafv_core.engine.batch import row_from_ids, row_from_template
from adafv_core.errors import InputError
from adafv_core.models import ADAPTERS
from adafv_core.models.vision_hooks import observe
from adafv_core.types import Selection
from app.wire.parse import AskSettings

FAMILIES = [*NEWER, *LLAVA]
MROPE = [family for family in NEWER if family.startswith("qwen")]
SIZES = {"landscape": (80, 60), "tall": (60, 200), "square": (56, 56)}


def _prompt(engine: Engine, question: str, images: int = 1) -> str:
    """As the chat template writes it, with as many placeholders as images."""
    text = engine.prompter.render(question)
    token = engine.prompter.image_token
    before, after = text.split(token)
    if "<|vision_start|>" in before:
        return before + "<|vision_end|> and <|vision_start|>".join([token] * images) + after
    return before + " and ".join([token] * images) + after


def stock_call(engine: Engine, images: list[list[Any]], texts: list[str]) -> Any:
    """What a user of stock transformers passes to `generate`: a left-padded batch."""
    nested = "idefics" in engine.adapter.model_type or "smol" in engine.adapter.model_type
    given: Any = (
        images if nested or "onevision" in engine.adapter.model_type else [one for row in images for one in row]
    )
    return engine.processor(images=given, text=texts, return_tensors="pt", padding=True)


def batch_of(engine: Engine) -> Any:
    """Three prompts about pictures of different sizes."""
    images = [[picture(*size, seed)] for seed, size in enumerate(SIZES.values())]
    return stock_call(engine, images, [_prompt(engine, question) for question in QUESTIONS[:3]])


def mixed_batch(engine: Engine) -> Any:
    """One picture, two pictures, and a prompt of text alone."""
    images = [[picture(80, 60)], [picture(60, 90, 1), picture(120, 50, 2)], []]
    texts = [_prompt(engine, QUESTIONS[0]), _prompt(engine, QUESTIONS[1], 2)]
    token = engine.prompter.image_token
    texts.append(engine.prompter.render(QUESTIONS[2]).replace(token, ""))
    return stock_call(engine, images, texts)


CALLS: dict[str, dict[str, Any]] = {
    "greedy": {"max_new_tokens": 6, "do_sample": False},
    "beams": {"max_new_tokens": 5, "num_beams": 3, "do_sample": False},
    "sampled": {"max_new_tokens": 6, "do_sample": True, "temperature": 1.3},
    "no cache": {"max_new_tokens": 4, "use_cache": False, "do_sample": False},
}


def run(model: Any, inputs: Any, **options: Any) -> Any:
    torch.manual_seed(5)
    return model.generate(**inputs, **options)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_pruned_is_stock(family: str, call: str) -> None:
    engine = engine_of(family)
    for inputs in (batch_of(engine), mixed_batch(engine)):
        stock = run(engine.model, inputs, **CALLS[call])
        with adafv_core.prune(engine.model, 1.0, processor=engine.processor):
            assert torch.equal(run(engine.model, inputs, **CALLS[call]), stock)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_engine_asks_what_the_processor_would(family: str, size: str) -> None:
    """The same token ids, features and first answers, from the picture and the question alone."""
    engine, image = engine_of(family), picture(*SIZES[size])
    inputs = stock_call(engine, [[image]], [_prompt(engine, QUESTIONS[0])])
    visual = engine.encode(image)
    row = row_from_template(engine.adapter, engine.prompter(QUESTIONS[0]).ids, [(visual, None)])
    assert row.ids.tolist() == inputs["input_ids"][0].tolist()
    assert visual.grid.size == visual.size == visual.saliency.shape[0] == visual.vision_keys.shape[0]
    assert visual.vision_features.shape[0] == visual.size
    stock = run(engine.model, inputs, max_new_tokens=6, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    answer = engine.answer(image, QUESTIONS[0], 1.0, max_new_tokens=6)
    assert answer.token_ids == until_end(engine, stock.tolist())


def stays_of(engine: Engine, inputs: Any, selections: Sequence[Sequence[Selection]]) -> list[torch.Tensor]:
    """Per prompt (tokens,) bool over its image tokens, newline tokens included: which of them are kept."""
    prompts = [ids[mask.bool()] for ids, mask in zip(inputs["input_ids"], inputs["attention_mask"], strict=True)]
    visuals = iter(engine.adapter.encode(engine.adapter.from_prompts(inputs, prompts)))
    rows = []
    for made in selections:
        row = [torch.zeros(0, dtype=torch.bool)]
        for selection in made:
            visual = next(visuals)
            stays = torch.zeros(visual.stock_size, dtype=torch.bool)
            stays[adafv_core.grid.stock_positions(visual.size, visual.newline_after)[0][selection.indices]] = True
            row.append(stays)
        rows.append(torch.cat(row))
    assert next(visuals, None) is None
    return rows


def masked_logits(engine: Engine, inputs: Any, stays: list[torch.Tensor]) -> torch.Tensor:
    """Last logits (B, V) of the stock model over the whole prompts with the dropped image tokens masked out, position
    ids as stock makes them for the whole prompts. stays: as `stays_of` gives them.
    """
    inputs = dict(inputs)
    ids, mask = inputs["input_ids"], inputs["attention_mask"].clone()
    if "image_grid_thw" in inputs:
        names = ("image_grid_thw", "mm_token_type_ids")
        positions, _ = engine.model.model.get_rope_index(
            ids, attention_mask=mask, **{name: inputs[name] for name in names}
        )
    else:
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
    for row, one in enumerate(stays):
        mask[row, (ids[row] == engine.adapter.image_token_id).nonzero()[:, 0][~one]] = 0
    with torch.inference_mode():
        return engine.model(**{**inputs, "attention_mask": mask, "position_ids": positions}).logits[:, -1]


@pytest.mark.parametrize("family", FAMILIES)
def test_pruned_is_stock_with_the_dropped_tokens_masked_out(family: str) -> None:
    """First logits of a left-padded batch, through `prune` and through the engine; then decoding, step by step."""
    engine = engine_of(family)
    inputs = batch_of(engine)
    length = inputs["input_ids"].shape[1]
    options: dict[str, Any] = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False}
    with adafv_core.prune(engine.model, 0.4, "adafv", engine.processor, positions="original") as pruning:
        output = engine.model.generate(**inputs, **options, return_dict_in_generate=True, output_logits=True)
    kept = [selections[0].kept for selections in pruning.selections]
    assert all(0 < int(one.sum()) < one.numel() for one in kept)
    stays = stays_of(engine, inputs, pruning.selections)
    for step in range(5):
        longer = _appended(inputs, output.sequences[:, length : length + step])
        assert torch.allclose(output.logits[step], masked_logits(engine, longer, stays), atol=3e-5)
    questions = zip(SIZES.values(), QUESTIONS[:3], strict=True)
    asks = [(picture(*size, seed), question) for seed, (size, question) in enumerate(questions)]
    expected = masked_logits(engine, inputs, stays).log_softmax(-1)
    for row, answer in enumerate(engine.answer_batch(asks, 0.4, max_new_tokens=5, positions="original")):
        assert torch.equal(answer.selection.kept, kept[row])
        assert torch.allclose(answer.first_logprobs, expected[row], atol=3e-5)
        end = engine.model.generation_config.eos_token_id  # `min_new_tokens` kept the other run from ending there
        own = [one for one in answer.token_ids if one != end]
        assert own == output.sequences[row, length : length + len(own)].tolist()


def _appended(inputs: Any, new: torch.Tensor) -> dict[str, Any]:
    """The inputs with new tokens of text after them."""
    longer = dict(inputs)
    longer["input_ids"] = torch.cat((inputs["input_ids"], new), dim=1)
    longer["attention_mask"] = torch.cat((inputs["attention_mask"], torch.ones_like(new)), dim=1)
    if "mm_token_type_ids" in inputs:
        longer["mm_token_type_ids"] = torch.cat((inputs["mm_token_type_ids"], torch.zeros_like(new)), dim=1)
    return longer


@pytest.mark.parametrize("family", FAMILIES)
def test_pruned_rows_of_a_mixed_batch_are_stock_too(family: str) -> None:
    """Two images in a prompt, and a prompt without any."""
    engine = engine_of(family)
    inputs = mixed_batch(engine)
    with adafv_core.prune(engine.model, 0.4, "random", engine.processor, positions="original") as pruning:
        output = engine.model.generate(
            **inputs, max_new_tokens=2, do_sample=False, return_dict_in_generate=True, output_logits=True
        )
    stays = stays_of(engine, inputs, pruning.selections)
    assert [len(selections) for selections in pruning.selections] == [1, 2, 0]
    assert torch.allclose(output.logits[0], masked_logits(engine, inputs, stays), atol=3e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_beams_of_a_pruned_batch_equal_beams_of_one(family: str) -> None:
    engine = engine_of(family)
    inputs, length = batch_of(engine), batch_of(engine)["input_ids"].shape[1]
    with adafv_core.prune(engine.model, 0.4, processor=engine.processor):
        together = run(engine.model, inputs, **CALLS["beams"])
        for row, (seed, size) in enumerate(enumerate(SIZES.values())):
            one = stock_call(engine, [[picture(*size, seed)]], [_prompt(engine, QUESTIONS[row])])
            alone = run(engine.model, one, **CALLS["beams"])[0, one["input_ids"].shape[1] :]
            assert until_end(engine, together[row, length:].tolist()) == until_end(engine, alone.tolist())


def eager_attention(family: str, inputs: Any) -> list[torch.Tensor]:
    """Attention of the observed layer, written out by an eager copy of the model, per call (B, heads, L, L)."""
    model = AutoModelForImageTextToText.from_pretrained(folder_of(family), attn_implementation="eager").eval()
    adapter = ADAPTERS[type(model).__name__](model, engine_of(family).processor)
    seen: list[torch.Tensor] = []
    source = import_module(type(adapter.attention).__module__)
    plain = source.eager_attention_forward

    def recording(layer: Any, *args: Any, **kwargs: Any) -> Any:
        output, weights = plain(layer, *args, **kwargs)
        if layer is adapter.attention:
            seen.append(weights)
        return output, weights

    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(source, "eager_attention_forward", recording)
        model.model.get_image_features(**image_arguments(adapter, inputs), return_dict=True)
    return seen


@pytest.mark.parametrize("family", NEWER)
def test_saliency_is_the_attention_an_eager_model_writes_out(family: str) -> None:
    engine, image = engine_of(family), picture(80, 60)
    visual = engine.encode(image)
    inputs = stock_call(engine, [[image]], [_prompt(engine, QUESTIONS[0])])
    weights = eager_attention(family, inputs)
    has_cls = family == "internvl"
    assert visual.saliency_source == ("[CLS] attention" if has_cls else "attention received")
    found = []
    for one in torch.cat(weights):
        rows = one[:, 0, 1:].mean(0) if has_cls else one.mean((0, 1))
        found.append(rows)
    crop = visual.grid.crops[0]
    if family.startswith("qwen"):
        patches = found[0].reshape(crop.size, 4).mean(1)
        order = torch.argsort(torch.tensor(_window_order(crop))) if family == "qwen2_5_vl" else torch.arange(crop.size)
        expected = patches[order]
    else:
        expected = torch.cat([row.reshape(2, 2, 2, 2).mean((1, 3)).flatten() for row in found])
    assert torch.allclose(visual.saliency, expected, atol=1e-6)


def _window_order(crop: Any) -> list[int]:
    """Qwen2.5-VL's encoder walks windows of two by two units (56 pixels), each row by row."""
    units = [
        (row // 2, col // 2, row, col, row * crop.cols + col) for row in range(crop.rows) for col in range(crop.cols)
    ]
    return [unit[-1] for unit in sorted(units)]


def _patched(size: tuple[int, int], box: tuple[float, ...]) -> Any:
    """A gray picture with a checkered patch inside a token's box."""
    image = picture(*size).convert("L").point(lambda _: 110).convert("RGB")
    left, top, right, bottom = box
    for at in range(4):
        x, y = at % 2, at // 2
        width, height = (right - left) / 2, (bottom - top) / 2
        color = (255, 255, 255) if x == y else (255, 0, 0)
        where = (left + x * width, top + y * height, left + (x + 1) * width, top + (y + 1) * height)
        image.paste(color, tuple(round(edge) for edge in where))
    return image


@pytest.mark.parametrize("size", [(224, 168), (168, 224)])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_patch_in_a_tokens_box_lights_that_token(family: str, size: tuple[int, int]) -> None:
    """What enters the encoder under each token, with and without the patch, through the adapter's own layout."""
    engine = engine_of(family)
    gray = _patched(size, (0, 0, 0, 0))
    whole = engine.encode(gray)
    boxes = adafv_core.grid.token_boxes(whole.grid)
    for token in range(0, whole.size, max(1, whole.size // 7)):
        box = tuple(float(edge) for edge in boxes[token])
        left, top, right, bottom = max(box[0], 0), max(box[1], 0), min(box[2], size[0]), min(box[3], size[1])
        if (right - left) * (bottom - top) < 0.8 * (box[2] - box[0]) * (box[3] - box[1]):
            continue
        change = _pixel_change(engine, gray, _patched(size, (left, top, right, bottom)))
        crop = next(crop for crop in whole.grid.crops if crop.offset <= token < crop.offset + crop.size)
        own = change[crop.offset : crop.offset + crop.size]
        assert int(own.argmax()) == token - crop.offset
        others = torch.cat((own[: token - crop.offset], own[token - crop.offset + 1 :]))
        assert own.max() > 2 * others.max()


def _pixel_change(engine: Engine, one: Any, other: Any) -> torch.Tensor:
    """(N,) how much the encoder's input under each token changes, laid out by `merge` and `pack`."""
    adapter = engine.adapter
    before, after = adapter.pixels([one]), adapter.pixels([other])
    change = (after["pixel_values"] - before["pixel_values"]).abs()
    if "image_grid_thw" in before:
        return change.mean(1).reshape(-1, adapter.merge_side**2).mean(1)
    flat = change.reshape(-1, *change.shape[-3:]).mean(1, keepdim=True)
    patch = 14
    patches = torch.nn.functional.avg_pool2d(flat, patch).flatten(2).transpose(1, 2)
    return adapter.pack(adapter.merge(patches), before, 0, None)[:, 0]


@pytest.mark.parametrize("family", FAMILIES)
def test_features_answer_to_the_pixels_under_their_box(family: str) -> None:
    """The projected features themselves, with attention in the encoder switched off: nothing else changes."""
    engine = engine_of(family)
    size = (224, 168)
    gray = _patched(size, (0, 0, 0, 0))
    out = [layer for layer in engine.adapter.tower.modules() if type(layer) is type(engine.adapter.attention)]
    silent = []

    def no_attention(module: Any, args: Any, output: Any) -> Any:
        silent.append(1)
        return (
            tuple(part * 0 if isinstance(part, torch.Tensor) else part for part in output)
            if isinstance(output, tuple)
            else output * 0
        )

    handles = [layer.register_forward_hook(no_attention) for layer in out]
    try:
        before = engine.adapter.encode(engine.adapter.pixels([gray]), [size])[0]
        boxes = adafv_core.grid.token_boxes(before.grid)
        for token in (0, before.size // 2, before.size - 1):
            box = tuple(float(edge) for edge in boxes[token])
            after = engine.adapter.encode(engine.adapter.pixels([_patched(size, box)]), [size])[0]
            moved = (after.features - before.features).norm(dim=-1)
            crop = next(crop for crop in before.grid.crops if crop.offset <= token < crop.offset + crop.size)
            assert int(moved[crop.offset : crop.offset + crop.size].argmax()) == token - crop.offset
    finally:
        for handle in handles:
            handle.remove()
    assert silent


@pytest.mark.parametrize("family", MROPE)
def test_positions_of_m_rope_are_kept_or_refused(family: str) -> None:
    engine, image = engine_of(family), picture(80, 60)
    before = engine.model.model.rope_deltas
    with pytest.raises(InputError, match="time, height and width"):
        engine.answer(image, QUESTIONS[0], 0.5, positions="contiguous")
    own = engine.answer(image, QUESTIONS[0], 0.5, max_new_tokens=3)
    assert own.token_ids == engine.answer(image, QUESTIONS[0], 0.5, max_new_tokens=3, positions="original").token_ids
    assert engine.model.model.rope_deltas is before


@pytest.mark.parametrize("family", NEWER)
def test_pruning_inside_the_llm_equals_masking_in_later_layers(family: str) -> None:
    """`fastv` at a layer after the last that adds features; before it, one sentence."""
    engine, image = engine_of(family), picture(80, 60)
    layer = 2
    inputs = stock_call(engine, [[image]], [_prompt(engine, QUESTIONS[0])])
    answer = engine.answer(image, QUESTIONS[0], budget=3, method="fastv", layer=layer, max_new_tokens=3)
    ranked, logits = _fastv_reference(family, engine, inputs, layer, answer.selection.kept)
    assert torch.equal(ranked.sort(descending=True, stable=True).indices[:3].sort().values, answer.selection.indices)
    assert torch.allclose(answer.first_logprobs, logits.log_softmax(-1), atol=2e-4)
    if family.startswith("qwen3"):
        with pytest.raises(InputError, match="at least 2"):
            engine.answer(image, QUESTIONS[0], budget=3, method="fastv", layer=1)


def _fastv_reference(
    family: str, engine: Engine, inputs: Any, layer: int, kept: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention of the last token in layer − 1 over the image tokens, and the logits with the others hidden from
    `layer` on, by an eager model that never removes a token.
    """
    model = AutoModelForImageTextToText.from_pretrained(folder_of(family), attn_implementation="eager").eval()
    places = (inputs["input_ids"][0] == engine.adapter.image_token_id).nonzero()[:, 0]
    hidden = places[~kept]
    seen: list[torch.Tensor] = []
    llm = ADAPTERS[type(model).__name__](model, engine.processor).language_model

    def hide(module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        mask = kwargs["attention_mask"].clone()
        mask[..., hidden] = torch.finfo(mask.dtype).min
        return args, {**kwargs, "attention_mask": mask}

    llm.layers[layer - 1].self_attn.register_forward_hook(lambda module, args, output: seen.append(output[1]))
    for one in llm.layers[layer:]:
        one.register_forward_pre_hook(hide, with_kwargs=True)
    with torch.inference_mode():
        logits = model(**inputs, use_cache=False).logits[0, -1]
    return seen[0][0, :, -1].mean(0)[places], logits


@pytest.mark.parametrize("method", ["fastv", "sparsevlm", "pyramiddrop"])
@pytest.mark.parametrize("family", ["qwen3_vl", "qwen3_vl_moe"])
def test_methods_inside_the_llm_start_after_deepstack_or_are_refused(family: str, method: str) -> None:
    """The tiny models add features in two layers, as many as the first layer at which these methods drop tokens."""
    engine, image = engine_of(family), picture(80, 60)
    first = adafv_core.get_method(method).layers_of(engine.adapter.text_config.num_hidden_layers)[0]
    added = engine.encode(image).layer_features.shape[0]
    if first >= added:
        assert engine.answer(image, QUESTIONS[0], budget=3, method=method, max_new_tokens=2).n_kept > 0
        return
    with pytest.raises(InputError, match=f"at least {added}"):
        engine.answer(image, QUESTIONS[0], budget=3, method=method, max_new_tokens=2)


@pytest.mark.parametrize("family", NEWER)
def test_beams_inside_the_llm_equal_beams_alone(family: str) -> None:
    engine = engine_of(family)
    inputs, length = batch_of(engine), batch_of(engine)["input_ids"].shape[1]
    with adafv_core.prune(engine.model, budget=3, method="fastv", processor=engine.processor, layer=2) as pruning:
        together = run(engine.model, inputs, **CALLS["beams"])
        assert [one.size for selections in pruning.selections for one in selections] == [3, 3, 3]
        for row, (seed, size) in enumerate(enumerate(SIZES.values())):
            one = stock_call(engine, [[picture(*size, seed)]], [_prompt(engine, QUESTIONS[row])])
            alone = run(engine.model, one, **CALLS["beams"])[0, one["input_ids"].shape[1] :]
            assert until_end(engine, together[row, length:].tolist()) == until_end(engine, alone.tolist())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_cost_of_an_image_is_what_stock_multiplies(family: str) -> None:
    """Vision encoder up to the feature layer, projector and DeepStack's mergers, in an eager model that encodes."""
    engine, image = engine_of(family), picture(150, 90)
    model = AutoModelForImageTextToText.from_pretrained(folder_of(family), attn_implementation="eager").eval()
    adapter = ADAPTERS[type(model).__name__](model, engine.processor)
    pixels = adapter.pixels([image])
    left_out = observe(model.model, {}, adapter.unused_layers)
    with torch.no_grad(), left_out, FlopCounterMode(display=False) as counter:
        model.model.get_image_features(**image_arguments(adapter, pixels), return_dict=True)
    assert engine.adapter.vision_flops(engine.encode(image)) == counter.get_total_flops()


@pytest.mark.parametrize("family", NEWER)
def test_every_method_before_the_llm_chooses(family: str) -> None:
    engine, image = engine_of(family), picture(80, 60)
    scores = engine.score(engine.encode(image), QUESTIONS[0])
    for method in ("adafv", "saliency", "t2i", "visionzip", "vispruner", "divprune"):
        assert 0 < engine.select(scores, budget=3, method=method).size <= 3


def test_images_and_prompts_of_different_calls_are_refused() -> None:
    engine = engine_of("internvl")
    inputs = batch_of(engine)
    with pytest.raises(InputError, match="crops"):
        engine.adapter.encode(engine.adapter.from_prompts(inputs, [inputs["input_ids"][0]]))


def test_image_tokens_with_text_between_belong_to_one_image() -> None:
    """Marks of rows and columns stand between the tiles of Idefics3; they stay."""
    engine, image = engine_of("idefics3"), picture(80, 60)
    visual = engine.encode(image)
    ids = torch.tensor(engine.adapter.image_ids(visual))
    row = row_from_ids(engine.adapter, ids, [(visual, None)])
    assert row.n_text == ids.numel() - visual.size and int(row.images[0].places.diff().max()) > 1


@pytest.mark.parametrize("family", MROPE)
def test_videos_are_refused_in_one_sentence(family: str) -> None:
    engine = engine_of(family)
    inputs = dict(stock_call(engine, [[picture(80, 60)]], [_prompt(engine, QUESTIONS[0])]))
    inputs["pixel_values_videos"] = inputs.pop("pixel_values")
    inputs["video_grid_thw"] = inputs.pop("image_grid_thw")
    with (
        adafv_core.prune(engine.model, processor=engine.processor),
        pytest.raises(InputError, match="expects still images; leave videos out"),
    ):
        engine.model.generate(**inputs, max_new_tokens=2)


@pytest.mark.parametrize("family", [*MROPE, "internvl", "smolvlm", "llava_onevision"])
def test_a_processor_refuses_videos_that_would_come_as_pixel_values(family: str) -> None:
    """InternVL and SmolVLM write the frames of a video as images into the prompt, where nothing tells them apart."""
    engine, frames = engine_of(family), [[picture(80, 60), picture(80, 60, 1)]]
    with pytest.raises(InputError, match="leave videos out, or pass frames as images"):
        engine.processor(text=[engine.prompter.render(QUESTIONS[0])], videos=frames, return_tensors="pt")


@pytest.mark.parametrize("family", NEWER)
def test_the_settings_of_the_page_suit_every_family(family: str) -> None:
    engine, image, page = engine_of(family), picture(80, 60), AskSettings()
    for method in ("adafv", "t2i", "random"):
        options = {**page.options_for(method), "positions": page.positions_asked}
        assert engine.answer(image, QUESTIONS[0], 0.5, method, 2, **options).n_kept > 0
