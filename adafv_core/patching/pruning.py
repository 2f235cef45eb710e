"""Drop-in pruning for a stock model that someone else loaded.

    model = LlavaForConditionalGeneration.from_pretrained(…)
    with adafv_core.prune(model, keep_ratio=0.1, processor=processor):
        output = model.generate(**processor(images=image, text=prompt, return_tensors="pt"), max_new_tokens=20)

Inside the block `generate` takes and returns what it always did. Only `model.generate` itself is replaced, and put back
at the end of the block; whatever else the caller changes inside the block stays.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from adafv_core.engine.gate import gate_of
from adafv_core.engine.request import Request
from adafv_core.engine.several_images import check_several
from adafv_core.errors import InputError
from adafv_core.loading.load import find_processor
from adafv_core.memory import memory_guard
from adafv_core.methods import Method
from adafv_core.models import Adapter, adapter_for
from adafv_core.models.prompts import Prompter
from adafv_core.patching.dispatch import Dispatch, by_name
from adafv_core.patching.pruned_call import PrunedCall, pruned_call
from adafv_core.patching.question_finder import QuestionFinder
from adafv_core.types import Row, Selection

_TOTALS_LOCK = threading.Lock()


@dataclass(frozen=True)
class Totals:
    """What all pruned calls of a block kept together.

    n_calls: calls with images that returned. n_images: images in them. n_visual, n_kept: their visual tokens, and how
    many of these stayed. n_below_budget: images kept whole because they have fewer visual tokens than the budget.
    """

    n_calls: int = 0
    n_images: int = 0
    n_visual: int = 0
    n_kept: int = 0
    n_below_budget: int = 0


class Pruning:
    """What `prune` yields: how the block prunes, and what its `generate` calls kept.

    A call that returns a dictionary (`return_dict_in_generate`) carries its own `PrunedCall` as `output.pruned`.
    `latest` is that of the latest call of the thread that reads it; a thread that has called nothing reads that of the
    block's latest call. A call without images, or one that fails, keeps nothing, so `selections` is then empty.
    """

    def __init__(self, adapter: Adapter, request: Request, find_question: QuestionFinder | None) -> None:
        self.adapter, self.request, self.find_question = adapter, request, find_question
        self.totals = Totals()
        self._thread = threading.local()
        self._latest = PrunedCall()

    @property
    def method(self) -> Method:
        """The pruning method with its options."""
        return self.request.chooser

    @property
    def budget(self) -> int | None:
        """The number of visual tokens kept per image, if not a ratio of them."""
        return self.request.budget

    @property
    def latest(self) -> PrunedCall:
        """What this thread's latest call in the block kept."""
        return getattr(self._thread, "latest", self._latest)

    @property
    def selections(self) -> list[tuple[Selection, ...]]:
        """Of the latest call: per prompt, a tuple with one `Selection` per image."""
        return list(self.latest.selections)

    @property
    def n_newline(self) -> list[int]:
        """Of the latest call: per prompt, the newline tokens kept."""
        return list(self.latest.n_newline)

    @property
    def n_calls(self) -> int:
        """How many calls with images have returned."""
        return self.totals.n_calls

    def budgets_of(self, row: Row) -> tuple[int, ...]:
        """K for each image of a prompt (with share="all" one for all of them): a fixed budget is at most N."""
        visuals, fixed = [image.visual for image in row.images], self.request.budget
        if fixed is None:
            return self.request.budgets(visuals, row.n_text, self.adapter.llm_shape)
        sizes = [visual.size for visual in visuals]
        return tuple(min(fixed, size) for size in ([sum(sizes)] if self.request.share == "all" else sizes))

    def run(self, stock: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One `generate` call of the block. stock: the `generate` that was there before the block."""
        model = self.adapter.model
        if kwargs.get("pixel_values") is None and kwargs.get("mm_encoder_outputs"):
            return stock(*args, **kwargs)  # already prepared, by an engine that holds the gate in another thread
        if kwargs.get("pixel_values_videos") is not None:
            raise InputError("`prune` expects still images; leave videos out of the block.")
        self._thread.latest = PrunedCall()
        with gate_of(model).turn():
            if kwargs.get("pixel_values") is None:
                return stock(*args, **kwargs)
            # Not inference_mode: what stock returns can be changed in place and fed to a probe.
            with memory_guard(), torch.no_grad():
                output, call = pruned_call(self, stock, by_name(model, args, kwargs))
        self._record(call)
        return output

    def _record(self, call: PrunedCall) -> None:
        self._thread.latest = self._latest = call
        kept = [one.size for row in call.selections for one in row]
        with _TOTALS_LOCK:
            before = self.totals
            self.totals = Totals(
                before.n_calls + 1,
                before.n_images + len(kept),
                before.n_visual + sum(sum(row) for row in call.n_visual),
                before.n_kept + sum(kept),
                before.n_below_budget + len(call.below_budget),
            )
        if call.below_budget and not before.n_below_budget:
            prompt, image = call.below_budget[0]
            warnings.warn(
                f"An image has {call.n_visual[prompt][image]} visual tokens, fewer than the budget of {self.budget}, "
                "and was kept whole; `totals.n_below_budget` counts such images.",
                stacklevel=4,
            )


@contextmanager
def prune(
    model: Any,
    keep_ratio: float | None = None,
    method: str = "adafv",
    processor: Any = None,
    *,
    budget: int | None = None,
    flops_ratio: float | None = None,
    newline: str = "drop",
    positions: str | None = None,
    share: str = "image",
    **options: Any,
) -> Iterator[Pruning]:
    """Within the block, `model.generate` keeps only part of each image's visual tokens.

    model: a stock `…ForConditionalGeneration` of a known family, or PEFT's `PeftModel` around one. keep_ratio:
    fraction kept (0.1 if none of the three is given). budget: a number of tokens per image instead; an image that
    has fewer is kept whole, with a warning and a count in `Pruning.totals`. flops_ratio: the most that a prompt's
    prefill may cost instead, as in `Request`. processor: the model's, which tells the
    question's words from the template's; without it, the one among the model's files is used, and if there is none,
    every text token counts.
    share: "image", every image of a prompt has this budget, or "all", the images of a prompt have it together.
    newline, positions, options: as in `Engine.stream`.

    Batches, padding, beams, sampling, streamers, logits processors, stopping criteria, lengths and return values keep
    their stock meaning; calls without images pass through. Only `generate` is pruned, not a bare forward call. The
    question is the last user turn, wherever its words stand: before, between or after images.

    Any number of threads may call `generate`; calls on one model run one at a time, engines over it included. Blocks
    over one model may be nested or be open in several threads: a call is pruned by the innermost block that its own
    thread (or asyncio task) entered, or by the block entered last if it entered none.

    Raises UnsupportedModelError, BudgetError and UnknownNameError on entry, InputError there if `processor` is not a
    full processor (e.g. a bare tokenizer), and InputError or PromptError from `generate` for calls that cannot be
    pruned.
    """
    request = Request(
        method,
        options,
        keep_ratio,
        budget,
        newline=newline,
        positions=positions,
        share=share,
        flops_ratio=flops_ratio,
    )
    if share == "all":
        check_several(request, 2)
    if hasattr(model, "get_base_model"):  # PEFT's wrapper, whose `generate` calls that of the model inside
        model = model.get_base_model()
    adapter = adapter_for(model, processor if processor is not None else _processor_beside(model))
    pruning = Pruning(adapter, request, _finder(adapter))
    dispatch = Dispatch.enter(model, pruning)
    try:
        yield pruning
    finally:
        dispatch.leave(pruning)


_PROCESSORS: WeakKeyDictionary[nn.Module, tuple[str, Any]] = WeakKeyDictionary()
_FINDERS: WeakKeyDictionary[nn.Module, tuple[Any, QuestionFinder]] = WeakKeyDictionary()


def _processor_beside(model: Any) -> Any | None:
    """The processor among a model's files, looked for once per model."""
    source = str(getattr(model, "name_or_path", ""))
    if not isinstance(model, nn.Module) or not source:
        return None
    known = _PROCESSORS.get(model)
    if known is None or known[0] != source:
        known = _PROCESSORS[model] = (source, find_processor(model))
    return known[1]


def _finder(adapter: Adapter) -> QuestionFinder | None:
    """The finder of a model's question words, made once per processor and chat template."""
    processor, model = adapter.processor, adapter.model
    if processor is None:
        return None
    template, known = getattr(processor, "chat_template", None), _FINDERS.get(model)
    if known is None or known[0] != template or known[1].prompter.processor is not processor:
        known = (template, QuestionFinder(Prompter(processor, adapter.image_token_id)))
        _FINDERS[model] = known
    return known[1]
