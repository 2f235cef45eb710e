"""Drop-in pruning: the calls and returns of stock `generate`, the engine's tokens, and a model restored exactly."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers.models_shared import QUESTIONS, engine_of, folder_of, pictures, stock_inputs, until_end
from helpers.tiny_models import FAMILIES, picture
from transformers import AutoModelForImageTextToText, LogitsProcessorList, StoppingCriteriaList, TextIteratorStreamer

import adafv_core
from adafv_core.engine import Engine
from adafv_core.errors import BudgetError, InputError, PromptError, UnknownNameError, UnsupportedModelError

CALLS: dict[str, dict[str, Any]] = {
    "greedy": {"max_new_tokens": 7, "do_sample": False},
    "beams": {"max_new_tokens": 6, "num_beams": 3, "do_sample": False},
    "beams returned": {"max_new_tokens": 5, "num_beams": 3, "num_return_sequences": 2, "do_sample": False},
    "sampled": {"max_new_tokens": 7, "do_sample": True, "temperature": 1.3, "top_k": 30},
    "samples returned": {"max_new_tokens": 5, "do_sample": True, "num_return_sequences": 3},
    "penalty": {"max_new_tokens": 7, "repetition_penalty": 1.4, "do_sample": False},
    "no cache": {"max_new_tokens": 5, "use_cache": False, "do_sample": False},
}


def batch_of(engine: Engine) -> Any:
    return stock_inputs(engine, pictures(), list(QUESTIONS))


def run(engine: Engine, inputs: Any, **options: Any) -> Any:
    torch.manual_seed(5)
    return engine.model.generate(**inputs, **options)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_pruned_returns_what_stock_returns(family: str, call: str) -> None:
    engine = engine_of(family)
    inputs = batch_of(engine)
    stock = run(engine, inputs, **CALLS[call])
    with adafv_core.prune(engine.model, keep_ratio=1.0, processor=engine.processor):
        assert torch.equal(run(engine, inputs, **CALLS[call]), stock)


@pytest.mark.parametrize("options", [{}, {"newline": "rows"}, {"positions": "original"}], ids=str)
@pytest.mark.parametrize("method", ["adafv", "visionzip", "random", "fastv"])
@pytest.mark.parametrize("family", FAMILIES)
def test_it_keeps_and_answers_what_the_engine_does(family: str, method: str, options: dict[str, Any]) -> None:
    engine = engine_of(family)
    inputs = batch_of(engine)
    length = inputs["input_ids"].shape[1]
    with adafv_core.prune(engine.model, 0.25, method, engine.processor, **options) as pruning:
        output = run(engine, inputs, max_new_tokens=6, do_sample=False)
    assert torch.equal(output[:, :length], inputs["input_ids"])
    for row, (image, question) in enumerate(zip(pictures(), QUESTIONS, strict=True)):
        answer = engine.answer(image, question, 0.25, method=method, max_new_tokens=6, **options)
        assert torch.equal(pruning.selections[row][0].kept, answer.selection.kept)
        assert until_end(engine, output[row, length:].tolist()) == answer.token_ids
        assert pruning.n_newline[row] == answer.n_newline


@pytest.mark.parametrize("method", ["adafv", "fastv"])
@pytest.mark.parametrize("call", [name for name in CALLS if name not in ("sampled", "samples returned")])
def test_every_call_equals_a_batch_of_one(call: str, method: str) -> None:
    engine = engine_of("llava_next_vicuna")
    inputs = batch_of(engine)
    length = inputs["input_ids"].shape[1]
    with adafv_core.prune(engine.model, 0.3, method, engine.processor):
        together = run(engine, inputs, **CALLS[call])
        copies = together.shape[0] // len(QUESTIONS)
        for row, (image, question) in enumerate(zip(pictures(), QUESTIONS, strict=True)):
            one = stock_inputs(engine, [image], [question])
            alone = run(engine, one, **CALLS[call])
            for copy in range(copies):
                new = together[row * copies + copy, length:].tolist()
                assert until_end(engine, new) == until_end(engine, alone[copy, one["input_ids"].shape[1] :].tolist())


def test_the_processor_beside_the_files_is_found() -> None:
    """`processor=None`: the template's words do not count, as in the engine."""
    model = AutoModelForImageTextToText.from_pretrained(folder_of("llava"))
    engine = engine_of("llava")
    inputs = stock_inputs(engine, [picture(80, 60)], [QUESTIONS[0]])
    with adafv_core.prune(model, keep_ratio=0.25) as pruning:
        model.generate(**inputs, max_new_tokens=2)
    answer = engine.answer(picture(80, 60), QUESTIONS[0], 0.25, max_new_tokens=2)
    assert torch.equal(pruning.selections[0][0].kept, answer.selection.kept)


def test_without_any_processor_every_text_token_counts() -> None:
    model = AutoModelForImageTextToText.from_pretrained(folder_of("llava"))
    model.name_or_path = model.config._name_or_path = ""
    engine = engine_of("llava")
    inputs = stock_inputs(engine, [picture(80, 60)], [QUESTIONS[0]])
    with adafv_core.prune(model, budget=5) as pruning:
        assert pruning.find_question is None
        model.generate(**inputs, max_new_tokens=2)
    answer = engine.answer(picture(80, 60), QUESTIONS[0], budget=5, max_new_tokens=2, text_tokens="all")
    assert torch.equal(pruning.selections[0][0].kept, answer.selection.kept)


def test_the_current_question_of_a_conversation_counts() -> None:
    engine = engine_of("llava_next_mistral")
    history = [(QUESTIONS[3], "Three."), (QUESTIONS[1], "No.")]
    text = engine.prompter.render(QUESTIONS[0], history)
    inputs = engine.processor(images=[picture(80, 60)], text=[text], return_tensors="pt")
    with adafv_core.prune(engine.model, 0.25, processor=engine.processor) as pruning:
        engine.model.generate(**inputs, max_new_tokens=2)
    answer = engine.answer(picture(80, 60), QUESTIONS[0], 0.25, max_new_tokens=2, history=history)
    assert torch.equal(pruning.selections[0][0].kept, answer.selection.kept)


def test_a_dictionary_is_returned_where_asked_for() -> None:
    engine = engine_of("llava_next_vicuna")
    inputs = batch_of(engine)
    options = {
        "max_new_tokens": 5,
        "do_sample": False,
        "return_dict_in_generate": True,
        "output_scores": True,
        "output_hidden_states": True,
    }
    with adafv_core.prune(engine.model, 0.3, processor=engine.processor):
        output = run(engine, inputs, **options)
    length = inputs["input_ids"].shape[1]
    assert torch.equal(output.sequences[:, :length], inputs["input_ids"])
    assert len(output.scores) == output.sequences.shape[1] - length
    assert output.hidden_states[0][0].shape[1] < length
    assert output.past_key_values.get_seq_length() < length


def test_lengths_speak_of_the_whole_prompt() -> None:
    engine = engine_of("llava")
    engine_ends = engine.model.generation_config.eos_token_id
    inputs = stock_inputs(engine, [picture(80, 60)], [QUESTIONS[0]])
    length = inputs["input_ids"].shape[1]
    config = engine.model.generation_config.__class__(max_length=length + 4, do_sample=False)
    engine.model.generation_config.eos_token_id = None
    try:
        with adafv_core.prune(engine.model, 0.25, processor=engine.processor):
            assert engine.model.generate(**inputs, max_length=length + 3).shape[1] == length + 3
            assert engine.model.generate(**inputs, generation_config=config).shape[1] == length + 4
            assert config.max_length == length + 4
            assert engine.model.generate(**inputs, max_new_tokens=2).shape[1] == length + 2
    finally:
        engine.model.generation_config.eos_token_id = engine_ends


def test_what_looks_at_the_prompt_sees_the_whole_one() -> None:
    """Streamer, stopping criteria, logits processors and allowed tokens, with the caller's ids."""
    engine = engine_of("llava")
    inputs = stock_inputs(engine, [picture(80, 60)], [QUESTIONS[0]])
    prompt = inputs["input_ids"]
    length = prompt.shape[1]
    seen: list[int] = []

    def criteria(ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        assert torch.equal(ids[:, :length], prompt)
        seen.append(ids.shape[1] - length)
        return torch.tensor([seen[-1] >= 3])

    def processor(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        assert torch.equal(ids[:, :length], prompt)
        return scores

    def allowed(row: int, ids: torch.Tensor) -> list[int]:
        assert row == 0 and torch.equal(ids[:length], prompt[0])
        return list(range(300, 310))

    streamer = TextIteratorStreamer(engine.tokenizer, skip_prompt=False)
    with adafv_core.prune(engine.model, 0.25, processor=engine.processor):
        output = engine.model.generate(
            **inputs,
            max_new_tokens=8,
            do_sample=False,
            streamer=streamer,
            stopping_criteria=StoppingCriteriaList([criteria]),
            logits_processor=LogitsProcessorList([processor]),
            prefix_allowed_tokens_fn=allowed,
        )
    assert seen == [1, 2, 3]
    assert all(300 <= one < 310 for one in output[0, length:].tolist())
    assert "".join(streamer) == engine.tokenizer.decode(output[0])


def test_text_only_calls_pass_through() -> None:
    engine = engine_of("llava")
    inputs = engine.tokenizer("What color is the ring?", return_tensors="pt")
    stock = engine.model.generate(**inputs, max_new_tokens=6, do_sample=False)
    with adafv_core.prune(engine.model, 0.1, processor=engine.processor) as pruning:
        assert torch.equal(engine.model.generate(**inputs, max_new_tokens=6, do_sample=False), stock)
        positional = engine.model.generate(inputs["input_ids"], max_new_tokens=6, do_sample=False)
    assert torch.equal(positional, stock) and pruning.selections == []


@pytest.mark.parametrize("method", ["adafv", "fastv"])
def test_a_row_without_an_image_stays_whole(method: str) -> None:
    engine = engine_of("llava")
    texts = [engine.prompter.render(QUESTIONS[0]), "USER: How many circles are there? ASSISTANT:"]
    inputs = engine.processor(images=[picture(80, 60)], text=texts, return_tensors="pt", padding=True)
    with adafv_core.prune(engine.model, 0.25, method, engine.processor) as pruning:
        output = engine.model.generate(**inputs, max_new_tokens=5, do_sample=False)
    alone = engine.tokenizer(texts[1], return_tensors="pt")
    stock = engine.model.generate(**alone, max_new_tokens=5, do_sample=False)
    length = inputs["input_ids"].shape[1]
    assert until_end(engine, output[1, length:].tolist()) == until_end(
        engine, stock[0, alone["input_ids"].shape[1] :].tolist()
    )
    assert len(pruning.selections[0]) == 1 and pruning.selections[1] == ()


def test_several_images_in_a_prompt_are_each_pruned() -> None:
    engine = engine_of("llava")
    text = "USER: <image>\n<image>\nWhat color is the ring? ASSISTANT:"
    images = [picture(80, 60, 1), picture(60, 80, 2)]
    inputs = engine.processor(images=images, text=[text], return_tensors="pt")
    stock = engine.model.generate(**inputs, max_new_tokens=5, do_sample=False)
    with adafv_core.prune(engine.model, 1.0, processor=engine.processor):
        assert torch.equal(engine.model.generate(**inputs, max_new_tokens=5, do_sample=False), stock)
    with adafv_core.prune(engine.model, budget=3, processor=engine.processor) as pruning:
        engine.model.generate(**inputs, max_new_tokens=5, do_sample=False)
    assert [one.size for one in pruning.selections[0]] == [3, 3]


def state_of(model: Any) -> list[tuple[Any, ...]]:
    return [
        (dict(module.__dict__), list(module._forward_hooks.items()), list(module._forward_pre_hooks.items()))
        for module in model.modules()
    ]


@pytest.mark.parametrize("how", ["quietly", "by an error inside", "by an error of generate"])
@pytest.mark.parametrize("method", ["adafv", "fastv"])
@pytest.mark.parametrize("family", ["llava", "llava_onevision"])
def test_the_model_is_exactly_as_before(family: str, method: str, how: str) -> None:
    """Every attribute and hook of every module, then every parameter."""
    model = AutoModelForImageTextToText.from_pretrained(folder_of(family))
    engine = engine_of(family)
    inputs = stock_inputs(engine, [picture(80, 60)], [QUESTIONS[0]])
    model.generate(**inputs, max_new_tokens=1)  # transformers adds hooks of its own on first use
    before, weights = state_of(model), {name: value.clone() for name, value in model.state_dict().items()}
    generate = model.generate
    try:
        with adafv_core.prune(model, 0.25, method, engine.processor):
            assert model.generate != generate
            model.generate(**inputs, max_new_tokens=2)
            if how == "by an error inside":
                raise ZeroDivisionError
            if how == "by an error of generate":
                model.generate(**inputs, max_new_tokens=2, no_such_argument=1)
    except (ZeroDivisionError, ValueError):
        assert how != "quietly"
    after = state_of(model)
    for (attributes, *hooks), (attributes_after, *hooks_after) in zip(before, after, strict=True):
        assert attributes.keys() == attributes_after.keys()
        assert all(attributes[name] is attributes_after[name] for name in attributes)
        assert hooks == hooks_after
    assert model.generate == generate
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("method", ["adafv", "fastv"])
@pytest.mark.parametrize("family", ["llava", "llava_onevision"])
def test_a_model_never_run_is_left_as_a_stock_call_leaves_it(family: str, method: str) -> None:
    """The names of all attributes and the number of all hooks: what stays are transformers' own."""
    engine = engine_of(family)
    inputs = stock_inputs(engine, [picture(80, 60)], [QUESTIONS[0]])
    left = []
    for pruned in (False, True):
        model = AutoModelForImageTextToText.from_pretrained(folder_of(family))
        if pruned:
            with adafv_core.prune(model, 0.25, method, engine.processor):
                model.generate(**inputs, max_new_tokens=2)
        else:
            model.generate(**inputs, max_new_tokens=2)
        left.append([(set(names), len(hooks), len(pre_hooks)) for names, hooks, pre_hooks in state_of(model)])
    assert left[0] == left[1]


def test_what_the_caller_changes_inside_a_block_stays() -> None:
    """Hooks, attributes, submodules, and a `generate` that the caller wrapped."""
    model = AutoModelForImageTextToText.from_pretrained(folder_of("llava"))
    engine = engine_of("llava")
    inputs = stock_inputs(engine, [picture(80, 60)], [QUESTIONS[0]])
    stock = model.generate(**inputs, max_new_tokens=3, do_sample=False)
    runs: list[str] = []
    with adafv_core.prune(model, budget=4, processor=engine.processor) as pruning:
        model.lm_head.register_forward_hook(lambda module, args, output: runs.append("after"))
        model.lm_head.register_forward_pre_hook(lambda module, args: runs.append("before"))
        model.model.note = model.lm_head.note = "kept"
        model.probe = torch.nn.Linear(2, 2)
        pruned_generate = model.generate

        def generate(*args: Any, **kwargs: Any) -> Any:
            runs.append("wrapped")
            return pruned_generate(*args, **kwargs)

        model.generate = generate
        model.generate(**inputs, max_new_tokens=1, do_sample=False)
        with adafv_core.prune(model, budget=2, processor=engine.processor) as inner:
            model.generate(**inputs, max_new_tokens=1, do_sample=False)
    assert runs == ["wrapped", "before", "after"] * 2
    assert (pruning.selections[0][0].size, inner.selections[0][0].size) == (4, 2)
    assert model.generate is generate and model.model.note == model.lm_head.note == "kept"
    assert isinstance(model.probe, torch.nn.Linear)
    assert torch.equal(model.generate(**inputs, max_new_tokens=3, do_sample=False), stock)
    assert runs[6:] == ["wrapped"] + ["before", "after"] * 3


def test_a_generate_that_the_caller_had_replaced_is_back_afterwards() -> None:
    model = AutoModelForImageTextToText.from_pretrained(folder_of("llava"))
    engine = engine_of("llava")
    inputs = stock_inputs(engine, [picture(80, 60)], [QUESTIONS[0]])
    stock, lengths = model.generate, []

    def generate(**kwargs: Any) -> Any:
        lengths.append(kwargs["input_ids"].shape[1])
        return stock(**kwargs)

    model.generate = generate
    with adafv_core.prune(model, budget=4, processor=engine.processor):
        model.generate(**inputs, max_new_tokens=1)
    assert model.generate is generate
    model.generate(**inputs, max_new_tokens=1)
    assert lengths[1] - lengths[0] == 16 - 4


def test_blocks_can_be_nested() -> None:
    """The inner block wins; the outer one is back afterwards."""
    engine = engine_of("llava")
    inputs = stock_inputs(engine, [picture(80, 60)], [QUESTIONS[0]])
    with adafv_core.prune(engine.model, budget=8, processor=engine.processor) as outer:
        outer_generate = engine.model.generate
        with adafv_core.prune(engine.model, budget=3, processor=engine.processor) as inner:
            engine.model.generate(**inputs, max_new_tokens=2)
        assert engine.model.generate is outer_generate
        assert inner.selections[0][0].size == 3
        engine.model.generate(**inputs, max_new_tokens=2)
    assert outer.selections[0][0].size == 8


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"keep_ratio": 0.0}, BudgetError),
        ({"budget": 0}, BudgetError),
        ({"keep_ratio": 0.5, "budget": 3}, BudgetError),
        ({"method": "prune"}, UnknownNameError),
        ({"warmth": 1}, UnknownNameError),
        ({"newline": "all"}, UnknownNameError),
    ],
)
def test_bad_options_are_refused_on_entry(options: dict[str, Any], error: type[Exception]) -> None:
    model = engine_of("llava").model
    with pytest.raises(error), adafv_core.prune(model, **options):
        pass
    assert "generate" not in model.__dict__


def test_an_unknown_model_is_refused() -> None:
    language_model = engine_of("llava").adapter.language_model
    with (
        pytest.raises(UnsupportedModelError, match="LlavaForConditionalGeneration"),
        adafv_core.prune(language_model),
    ):
        pass


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"inputs_embeds": torch.zeros(1, 3, 48)}, InputError, "inputs_embeds"),
        ({"input_ids": None}, InputError, "input_ids"),
        ({"input_ids": torch.tensor([[1, 4, 4, 4, 9]])}, PromptError, "3 image tokens"),
        ({"input_ids": torch.tensor([[1, 9]])}, PromptError, "no image tokens"),
        ({"input_ids": torch.tensor([[1, *[4] * 16]])}, PromptError, "text after the image"),
        ({"vision_feature_layer": -1}, InputError, "vision_feature_layer"),
    ],
)
def test_what_cannot_be_pruned_is_said(change: dict[str, Any], error: type[Exception], said: str) -> None:
    engine = engine_of("llava")
    inputs = dict(stock_inputs(engine, [picture(80, 60)], [QUESTIONS[0]]))
    if "input_ids" in change:
        inputs.pop("attention_mask")
    with adafv_core.prune(engine.model, processor=engine.processor), pytest.raises(error, match=said):
        engine.model.generate(**{**inputs, **change}, max_new_tokens=2)
