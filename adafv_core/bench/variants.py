"""The variants that are timed against each other: ways to encode an image, and methods at keep ratios."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from adafv_core import cost
from adafv_core.bench.sampling import Seconds
from adafv_core.bench.shapes import Subject
from adafv_core.engine.batch import planned, row_from_ids
from adafv_core.engine.request import Request
from adafv_core.engine.streaming import now_s
from adafv_core.models.llava import LlavaAdapter
from adafv_core.models.llava_next import LlavaNextAdapter
from adafv_core.scoring import score_tokens, unscored
from adafv_core.types import Row, TokenScores, VisualTokens

METHODS = ("adafv", "fastv", "cdpruner", "divprune")


def encode_variants(subject: Subject) -> dict[str, Callable[[], Seconds]]:
    """stock: what an unpruned run does. authors: eager attention with every map kept, of the LLaVA families. adafv."""
    adapter = subject.adapter
    device = adapter.device
    arguments = {name: value for name, value in subject.pixels.items() if name in adapter.PIXEL_NAMES}

    def stock() -> Any:
        return adapter.base.get_image_features(**arguments)

    def authors() -> Any:
        config, chosen = adapter.tower.config, adapter.tower.config._attn_implementation
        config._attn_implementation = "eager"
        try:
            pixels = subject.pixels["pixel_values"].flatten(0, -4)
            seen = adapter.tower(pixels, output_attentions=True, output_hidden_states=True)
            return adapter.projector(seen.hidden_states[adapter.config.vision_feature_layer][:, 1:]), seen.attentions
        finally:
            config._attn_implementation = chosen

    ways: dict[str, Callable[[], Any]] = {"stock": stock, "adafv": lambda: adapter.encode(subject.pixels)}
    if isinstance(adapter, LlavaAdapter | LlavaNextAdapter) and adapter.has_cls:
        ways["authors"] = authors
    return {name: partial(_timed, way, device) for name, way in ways.items()}


@torch.no_grad()
def _timed(way: Callable[[], Any], device: torch.device) -> Seconds:
    began_s = now_s(device)
    way()
    return {"encode_s": now_s(device) - began_s}


@dataclass(frozen=True)
class Pruned:
    """One method at one budget. ids: (L,) int64, the prompt with all image tokens."""

    subject: Subject
    visual: VisualTokens
    ids: Tensor
    request: Request
    new_tokens: int

    @property
    def name(self) -> str:
        """What the table calls it."""
        ratio = self.request.keep_ratio or 1.0
        return self.request.method if ratio == 1 else f"{self.request.method} −{100 * (1 - ratio):.0f} %"

    @torch.no_grad()
    def run(self) -> Seconds:
        """Score, select, prefill and decode once: score_s, select_s, prefill_s, token_s, all_s."""
        adapter, request, marks = self.subject.adapter, self.request, [now_s(self.ids.device)]
        scores = unscored(self.visual) if request.chooser.inside_llm else self.scores()
        marks.append(now_s(self.ids.device))
        made = None if request.chooser.inside_llm else request.select(scores)
        marks.append(now_s(self.ids.device))
        row = row_from_ids(adapter, self.ids, [(self.visual, made)])
        tokens = self._generate(row)
        phases = {"score_s": marks[1] - marks[0], "select_s": marks[2] - marks[1], "prefill_s": tokens[0] - marks[2]}
        token_s = (tokens[-1] - tokens[0]) / max(1, len(tokens) - 1)
        return {**phases, "token_s": token_s, "all_s": tokens[-1] - marks[0]}

    def scores(self) -> TokenScores:
        """Scores for the text after the image, or none where the method reads none."""
        if not self.request.chooser.reads_t2i:
            return unscored(self.visual)
        after = self.subject.after
        counted = [True] * after.numel()
        words = ("",) * after.numel()
        return score_tokens(self.visual, self.subject.adapter.embed(after), words, counted, "question")

    def budgets_of(self, row: Row) -> tuple[int, ...]:
        """K of the image, as `planned` asks for it."""
        return (self.request.budget_of(self.visual.size),)

    def _generate(self, row: Row) -> list[float]:
        """When each new token was there."""
        adapter, at_s = self.subject.adapter, list[float]()
        plans = planned(adapter, [row], self.request, self.request.chooser, self.budgets_of, pad_token_id=0)
        head = adapter.model.get_output_embeddings()
        hook = head.register_forward_hook(lambda module, args, output: at_s.append(now_s(output.device)))
        try:
            with plans as plan:
                count = self.new_tokens
                adapter.model.generate(
                    **plan.arguments, do_sample=False, max_new_tokens=count, min_new_tokens=count, pad_token_id=0
                )
        finally:
            hook.remove()
        return at_s

    def layer_tokens(self) -> tuple[int, ...]:
        """Tokens that each LLM layer sees, by arithmetic: text, and what the method keeps there."""
        text, depth = self.subject.before.numel() + self.subject.after.numel(), self.subject.adapter.llm_shape.layers
        if self.request.method == "full":
            return (text + self.visual.stock_size,) * depth
        size, budget = self.visual.size, self.request.budget_of(self.visual.size)
        dropped = self.visual.stock_size - size if self.request.chooser.inside_llm else 0
        seen = self.request.chooser.layer_tokens(size, budget, depth)
        return tuple(text + one + (dropped if one == size else 0) for one in seen)

    def costs(self) -> dict[str, int]:
        """prefill_flops, kv_cache_bytes and n_kept."""
        shape, tokens = self.subject.adapter.llm_shape, self.layer_tokens()
        return {
            "n_kept": self.request.budget_of(self.visual.size),
            "prefill_flops": cost.prefill_flops(shape, tokens),
            "kv_cache_bytes": cost.kv_cache_bytes(shape, tokens, self.subject.adapter.model.dtype.itemsize),
        }


def method_variants(subject: Subject, keep_ratios: Sequence[float], new_tokens: int) -> list[Pruned]:
    """The unpruned run first, then every method at every keep ratio, all on one encoded image."""
    visual = replace(subject.adapter.encode(subject.pixels)[0], image_key="image", model_key="")
    image = torch.tensor(subject.adapter.image_ids(visual))
    ids = torch.cat((subject.before, image, subject.after)).to(subject.adapter.device)
    asked = [Request("full", keep_ratio=1.0)]
    asked += [Request(method, keep_ratio=ratio) for method in METHODS for ratio in keep_ratios]
    return [Pruned(subject, visual, ids, request, new_tokens) for request in asked]
