"""One `generate` call with fewer visual tokens: from the caller's arguments to stock's, and back to its output.

Everything a call knows is local to it, so calls in several threads, and calls within calls, do not meet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from adafv_core.engine.batch import planned, row_from_ids
from adafv_core.engine.request import Request
from adafv_core.engine.several_images import select_images
from adafv_core.errors import InputError, PromptError
from adafv_core.models import Adapter
from adafv_core.patching.question_finder import QuestionFinder
from adafv_core.patching.unpruned_view import WholePrompt
from adafv_core.scoring import score_tokens, unscored
from adafv_core.types import Row, Selection, VisualTokens

_NOT_SUPPORTED = {
    "inputs_embeds": "token ids, whose image tokens it can count",
    "vision_feature_layer": "the feature layer of the model's config",
    "vision_feature_select_strategy": "the select strategy of the model's config",
    "vision_aspect_ratio": "the aspect ratio of the model's config",
    "mm_encoder_outputs": "pixel values, which it encodes itself",
}


@dataclass(frozen=True)
class PrunedCall:
    """What one `generate` call kept.

    selections: per prompt, a tuple with one `Selection` per image. n_newline: per prompt, the newline tokens kept.
    n_visual: per prompt, a tuple with the number N of visual tokens of each image. below_budget: (prompt, image)
    indices of the images that have fewer visual tokens than the budget, and were kept whole.
    """

    selections: tuple[tuple[Selection, ...], ...] = ()
    n_newline: tuple[int, ...] = ()
    n_visual: tuple[tuple[int, ...], ...] = ()
    below_budget: tuple[tuple[int, int], ...] = ()


class How(Protocol):
    """How a block prunes, as `Pruning` states it."""

    adapter: Adapter
    request: Request
    find_question: QuestionFinder | None

    def budgets_of(self, row: Row) -> tuple[int, ...]:
        """K for each image of a prompt; with share="all" a single one for all of them."""


def pruned_call(how: How, stock: Any, given: dict[str, Any]) -> tuple[Any, PrunedCall]:
    """Run stock `generate` on its arguments by name, images pruned. Returns its output and what was kept.

    Raises InputError for arguments that cannot be pruned, PromptError where image tokens and images do not agree.
    """
    adapter, request = how.adapter, how.request
    input_ids = _input_ids(given)
    tokens = _SpecialTokens(adapter, given)
    mask = given.pop("attention_mask", None)
    if mask is not None and mask.shape != input_ids.shape:
        raise InputError(
            f"attention_mask must have the shape of input_ids {(*input_ids.shape,)}; got {(*mask.shape,)}."
        )
    real = tokens.real(input_ids) if mask is None else mask.to(input_ids.device).bool()
    given.pop("position_ids", None)
    pixels = {name: given.pop(name) for name in adapter.PIXEL_NAMES if name in given}
    for name in adapter.PROMPT_NAMES:
        given.pop(name, None)
    prompts = [ids[keep] for ids, keep in zip(input_ids, real, strict=True)]
    visuals = adapter.encode(adapter.from_prompts(pixels, prompts))
    rows = [_selected(how, row) for row in _with_images(adapter, prompts, visuals)]
    with planned(adapter, rows, request, request.chooser, how.budgets_of, pad_token_id=tokens.filler) as plan:
        whole = WholePrompt(input_ids, plan.length)
        arguments = {
            name: value.to(input_ids.device) if isinstance(value, Tensor) else value
            for name, value in plan.arguments.items()
        }
        output = stock(**whole.arguments(given, adapter.model.generation_config), **arguments)
        selections, n_newline = zip(*(plan.kept(number) for number in range(len(rows))), strict=True)
        call = PrunedCall(
            selections,
            n_newline,
            tuple(tuple(image.visual.size for image in row.images) for row in rows),
            tuple(
                (number, place)
                for number, row in enumerate(rows)
                for place, image in enumerate(row.images)
                if image.visual.size < (request.budget or 0)
            ),
        )
    if isinstance(output, Tensor):
        return whole.restore(output), call
    output.sequences = whole.restore(output.sequences)
    output.pruned = call
    return output, call


def _input_ids(given: dict[str, Any]) -> Tensor:
    """Take the (B, L) token ids out of the arguments, which are checked."""
    for name, expected in _NOT_SUPPORTED.items():
        if given.get(name) is not None:
            raise InputError(f"`prune` expects {expected}; got {name}.")
    if given.get("past_key_values") is not None and given["past_key_values"].get_seq_length() > 0:
        raise InputError("`prune` selects anew for each prompt; pass the whole conversation, not a filled cache.")
    inputs = given.pop("inputs", None)
    input_ids = given.pop("input_ids", None) if inputs is None else inputs
    if not isinstance(input_ids, Tensor) or input_ids.dim() != 2:
        raise InputError("`prune` expects input_ids of shape (batch, length) beside pixel_values.")
    return input_ids


class _SpecialTokens:
    """Padding and end tokens as stock `generate` resolves them: the call's, else its config's, else the model's."""

    def __init__(self, adapter: Adapter, given: Mapping[str, Any]) -> None:
        self.text_config = adapter.text_config
        config, own = given.get("generation_config"), adapter.model.generation_config

        def resolved(name: str) -> list[int]:
            places = (given.get(name), getattr(config, name, None), getattr(own, name, None))
            value = next((one for one in places if one is not None), None)
            return [] if value is None else torch.as_tensor(value).reshape(-1).tolist()

        self.end = resolved("eos_token_id")
        self.pad = (resolved("pad_token_id") or self.end)[:1]

    def real(self, input_ids: Tensor) -> Tensor:
        """(B, L) bool: which ids are no padding, by stock's rule for a call without attention_mask: where the padding
        token is an end token too, or does not occur, every id is real.
        """
        if not self.pad or self.pad[0] in self.end:
            return torch.ones_like(input_ids, dtype=torch.bool)
        return input_ids != self.pad[0]

    @property
    def filler(self) -> int:
        """The id that fills the shortened prompts on the left, under a mask."""
        pad = self.text_config.pad_token_id
        return next((one for one in (*self.pad, pad, *self.end) if one is not None), 0)


def _with_images(adapter: Adapter, prompts: Sequence[Tensor], visuals: Sequence[VisualTokens]) -> list[Row]:
    """Each prompt with its images, dealt out in order."""
    left = list(visuals)
    rows = []
    for number, ids in enumerate(prompts):
        count = int((ids == adapter.image_token_id).sum())
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
        rows.append(row_from_ids(adapter, ids, [(visual, None) for visual in images]))
    if left:
        raise PromptError(f"{len(left)} of {len(visuals)} images have no image tokens in any prompt.")
    return rows


def _selected(how: How, row: Row) -> Row:
    """The same prompt with a selection for each image, unless the method selects inside the LLM."""
    method = how.request.chooser
    if not row.images or method.inside_llm:
        return row
    if method.reads_t2i:
        places, counted = _text(how, row)
        text_ids = row.ids[torch.tensor(places, dtype=torch.long, device=row.ids.device)]
        text_tokens = how.adapter.embed(text_ids)
        words = [str(one) for one in text_ids.tolist()]
        scores = [score_tokens(image.visual, text_tokens, words, counted, "") for image in row.images]
    else:
        scores = [unscored(image.visual) for image in row.images]
    return row.selected(select_images(scores, how.request.share, how.budgets_of(row), method.select))


def _text(how: How, row: Row) -> tuple[list[int], list[bool]]:
    """Places of the text tokens that are scored, and which of them count as the question.

    Scored is all text from the end of the first image or the first word of the question on, whichever comes first:
    what `text_tokens="all"` takes. Without a processor the text after the first image is taken for the question, or
    all text where most of it stands before the image.
    """
    ids: list[int] = row.ids.tolist()
    # Text of the template may stand between the tiles of an image.
    within = {at for one in row.images for at in range(int(one.places[0]), int(one.places[-1]) + 1)}
    after = int(row.images[0].places[-1]) + 1
    if how.find_question is not None:
        counted = how.find_question(ids)
        # An image's own placeholders are flagged only where a prompt has no words at all.
        start = after if counted[after - 1] else min(after, counted.index(True))
    else:
        config = how.adapter.text_config
        special = {getattr(config, name, None) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
        counted = tuple(one not in special and at not in within for at, one in enumerate(ids))
        start = 0 if sum(counted[:after]) > sum(counted[after:]) else after
    places = [at for at in range(start, len(ids)) if at not in within]
    if not places:
        raise PromptError("Expected text after the image, or before it, by which its tokens can be chosen; got none.")
    flags = [counted[at] for at in places]
    return places, flags if any(flags) else [True] * len(flags)
