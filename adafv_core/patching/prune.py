"""Drop-in pruning for a stock model that someone else loaded.

    model = LlavaForConditionalGeneration.from_pretrained(…)
    with adafv_core.prune(model, keep_ratio=0.1, processor=processor):
        output = model.generate(**processor(images=image, text=prompt, return_tensors="pt"),
        max_new_tokens=20)

Inside the block `generate` takes and returns what it always did; afterwards the model is what it was
before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from adafv_core.checks import budget_from_keep_ratio
from adafv_core.engine.batch import Row, row_from_ids
from adafv_core.engine.plan import planned
from adafv_core.engine.request import Request, check_layout
from adafv_core.errors import BudgetError, InputError, PromptError
from adafv_core.loading.load import find_processor
from adafv_core.memory import memory_guard
from adafv_core.methods import Method, get_method
from adafv_core.models import Adapter, adapter_for
from adafv_core.models.prompts import Prompter
from adafv_core.patching.question_finder import QuestionFinder
from adafv_core.patching.unpruned_view import WholePrompt
from adafv_core.scoring import score_tokens
from adafv_core.types import Selection, VisualTokens

_NOT_HERE = {
    "inputs_embeds": "token ids, whose image tokens it can count",
    "pixel_values_videos": "still images; leave videos out of the block",
    "vision_feature_layer": "the feature layer of the model's config",
    "vision_feature_select_strategy": "the select strategy of the model's config",
    "vision_aspect_ratio": "the aspect ratio of the model's config",
    "mm_encoder_outputs": "pixel values, which it encodes itself",
}


@dataclass
class Pruning:
    """What `prune` hands to its block: how it prunes, and what the latest `generate` call kept.

    selections: one tuple a prompt, one selection an image in it. n_newline: newline tokens kept in each
    prompt.
    """

    adapter: Adapter
    method: Method
    keep_ratio: float | None
    budget: int | None
    newline: str
    positions: str | None
    find_question: QuestionFinder | None
    selections: list[tuple[Selection, ...]] = field(default_factory=list)
    n_newline: list[int] = field(default_factory=list)

    def budget_of(self, visual: VisualTokens) -> int:
        """K for one image."""
        return Request(keep_ratio=self.keep_ratio, budget=self.budget).budget_of(visual.size)


@contextmanager
def prune(
    model: Any,
    keep_ratio: float | None = None,
    method: str = "adafv",
    processor: Any = None,
    *,
    budget: int | None = None,
    newline: str = "drop",
    positions: str | None = None,
    **options: Any,
) -> Iterator[Pruning]:
    """Within the block, `model.generate` keeps only part of each image's visual tokens.

    model: a stock `…ForConditionalGeneration` of a known family. keep_ratio: fraction kept (0.1, if neither
    it nor budget is given). budget: a number of tokens an image instead. processor: the model's, so that
    the question's words can be told from the template's; without it the one beside the model's files is
    used, and if there is none, every text token after the image counts. newline, positions, options: as in
    `Engine.stream`.

    Batches, padding, beams, sampling, streamers, logits processors, stopping criteria, lengths and return
    values keep their stock meaning; calls without images pass through. Only `generate` is pruned, not a
    bare forward call. Raises UnsupportedModelError, BudgetError, UnknownNameError on entry, InputError there for a
    processor that is none (a tokenizer alone), and InputError from `generate` for what it cannot prune.
    """
    check_layout(newline, positions)
    whole = isinstance(budget, Integral) and not isinstance(budget, bool)
    if budget is not None and (keep_ratio is not None or not whole or budget < 1):
        raise BudgetError(
            f"Give keep_ratio, or a budget, a whole number of at least 1; got {keep_ratio!r} and {budget!r}."
        )
    if keep_ratio is not None:
        budget_from_keep_ratio(keep_ratio, 1)
    chooser = get_method(method, **options)
    processor = processor if processor is not None else find_processor(model)
    adapter = adapter_for(model, processor)
    finder = QuestionFinder(Prompter(processor, adapter.image_token_id)) if processor is not None else None
    pruning = Pruning(adapter, chooser, keep_ratio, budget, newline, positions, finder)
    with _exactly_restored(model):
        stock = model.generate

        def generate(*args: Any, **kwargs: Any) -> Any:
            return _generate(pruning, stock, args, kwargs)

        model.generate = generate
        yield pruning


@contextmanager
def _exactly_restored(model: Any) -> Iterator[None]:
    """Give every module back its attributes and hooks of before (also those transformers sets on first
    use).
    """
    before = [
        (module, dict(module.__dict__), list(module._forward_hooks.items()), list(module._forward_pre_hooks.items()))
        for module in model.modules()
    ]
    try:
        yield
    finally:
        for module, attributes, hooks, pre_hooks in before:
            for name in [name for name in module.__dict__ if name not in attributes]:
                del module.__dict__[name]
            module.__dict__.update(attributes)
            for registered, then in ((module._forward_hooks, hooks), (module._forward_pre_hooks, pre_hooks)):
                registered.clear()
                registered.update(then)


def _generate(pruning: Pruning, stock: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Stock `generate` with fewer visual tokens."""
    names = ("inputs", "generation_config", "logits_processor", "stopping_criteria", "prefix_allowed_tokens_fn")
    if kwargs.get("pixel_values") is None:
        return stock(*args, **kwargs)
    if len(args) > len(names):
        raise InputError(f"Inside `prune`, pass at most {len(names)} arguments of `generate` by position.")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    for name, expected in _NOT_HERE.items():
        if given.get(name) is not None:
            raise InputError(f"`prune` expects {expected}; got {name}.")
    if given.get("past_key_values") is not None and given["past_key_values"].get_seq_length() > 0:
        raise InputError("`prune` selects anew for each prompt; pass the whole conversation, not a filled cache.")
    inputs = given.pop("inputs", None)
    input_ids = given.pop("input_ids", None) if inputs is None else inputs
    if not isinstance(input_ids, Tensor) or input_ids.dim() != 2:
        raise InputError("`prune` expects input_ids of shape (batch, length) beside pixel_values.")
    mask = given.pop("attention_mask", None)
    given.pop("position_ids", None)
    adapter = pruning.adapter
    pixels = {name: given.pop(name) for name in adapter.PIXEL_NAMES if name in given}
    for name in adapter.PROMPT_NAMES:
        given.pop(name, None)
    with memory_guard(), torch.inference_mode():
        prompts = [ids if mask is None else ids[mask[at].to(ids.device).bool()] for at, ids in enumerate(input_ids)]
        visuals = adapter.encode(adapter.from_prompts(pixels, prompts))
        rows = _rows(pruning, prompts, visuals)
        with planned(
            adapter,
            rows,
            pruning.method,
            pruning.budget_of,
            pad_token_id=_pad_id(adapter, given),
            newline=pruning.newline,
            positions=pruning.positions,
        ) as plan:
            whole = WholePrompt(input_ids, plan.length)
            arguments = {
                name: value.to(input_ids.device) if isinstance(value, Tensor) else value
                for name, value in plan.arguments.items()
            }
            output = stock(**whole.arguments(given, adapter.model.generation_config), **arguments)
            pruning.selections = [plan.selections(row) for row in range(len(rows))]
            pruning.n_newline = [plan.n_newline(row) for row in range(len(rows))]
    if isinstance(output, Tensor):
        return whole.restore(output)
    output.sequences = whole.restore(output.sequences)
    return output


def _rows(pruning: Pruning, prompts: Sequence[Tensor], visuals: Sequence[VisualTokens]) -> list[Row]:
    """Each prompt without its padding, with its images in order, each with its selection."""
    left = list(visuals)
    rows = []
    for number, ids in enumerate(prompts):
        count = int((ids == pruning.adapter.image_token_id).sum())
        images: list[VisualTokens] = []
        taken = 0
        while taken < count and left:
            images.append(left.pop(0))
            taken += images[-1].stock_size
        if taken != count:
            raise PromptError(
                f"Prompt {number} has {count} image tokens; its images need {taken}. "
                "Pass input_ids and pixel_values of one processor call."
            )
        rows.append(_selected_row(pruning, row_from_ids(pruning.adapter, ids, [(visual, None) for visual in images])))
    if left:
        raise PromptError(f"{len(left)} of {len(visuals)} images have no image tokens in any prompt.")
    return rows


def _selected_row(pruning: Pruning, row: Row) -> Row:
    if not row.images or pruning.method.inside_llm:
        for image in row.images:
            pruning.budget_of(image.visual)
        return row
    text_ids = row.ids[int(row.images[-1].places[-1]) + 1 :]
    if text_ids.numel() == 0:
        raise PromptError("Expected text after the image, by which its tokens can be chosen; got none.")
    listed = text_ids.tolist()
    if pruning.find_question is not None:
        counted = pruning.find_question(listed)
    else:
        counted = _not_special(pruning.adapter, listed)
    words = [str(one) for one in listed]
    text_tokens = pruning.adapter.embed(text_ids)
    placed = []
    for image in row.images:
        scores = score_tokens(image.visual, text_tokens, words, counted, "")
        selection = pruning.method.select(scores, pruning.budget_of(image.visual))
        placed.append(replace(image, selection=selection))
    return replace(row, images=tuple(placed))


def _not_special(adapter: Adapter, ids: Sequence[int]) -> tuple[bool, ...]:
    """Without a processor: every token counts but those the config names (begin, end, padding)."""
    config = adapter.text_config
    named = {getattr(config, name, None) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    flags = tuple(one not in named for one in ids)
    return flags if any(flags) else (True,) * len(ids)


def _pad_id(adapter: Adapter, given: dict[str, Any]) -> int:
    config = adapter.model.generation_config
    end = config.eos_token_id[0] if isinstance(config.eos_token_id, list) else config.eos_token_id
    candidates = (given.get("pad_token_id"), config.pad_token_id, adapter.text_config.pad_token_id, end)
    return int(next((one for one in candidates if one is not None), 0))
