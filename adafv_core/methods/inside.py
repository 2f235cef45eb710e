"""What pruning methods inside the LLM share: at some layers, the tokens that text attends to most stay."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from adafv_core.checks import check_budget, check_scores
from adafv_core.errors import InputError, ScoreError
from adafv_core.methods.base import Choice, Method
from adafv_core.mixing import top_k
from adafv_core.types import Selection, TokenScores


@dataclass(frozen=True)
class Stage:
    """layer: the first LLM layer, counted from 0, that sees only what this stage leaves. keep: how many of the visual
    tokens before it stay. merged: how many further tokens are means of dropped ones.
    """

    layer: int
    keep: int
    merged: int = 0

    @property
    def size(self) -> int:
        """Visual tokens after it."""
        return self.keep + self.merged


@dataclass(frozen=True, eq=False)
class Drop:
    """What a stage does with the n visual tokens of one image that it sees.

    kept: (keep,) int64 ascending. groups: one (m,) int64 for each merged token, the tokens it is the mean of, the one
    in whose place it stands first. ranking: (n,) float32, what they were ranked by.
    """

    kept: Tensor
    groups: tuple[Tensor, ...]
    ranking: Tensor

    @property
    def order(self) -> Tensor:
        """(size,) int64: the tokens after the stage, in their order: those kept, then the places of merged ones."""
        return torch.cat([self.kept, *(group[:1] for group in self.groups)])


class InsideMethod(Method):
    """A method that drops visual tokens between LLM layers, by attention that text pays to them there.

    `stages` is all that a new one overrides; `raters` and `drop` may be, too. positions: the position ids of what is
    left, where the request names none and the model family allows it. one_ranking: a single ranking serves every
    budget.
    """

    inside_llm: ClassVar[bool] = True
    positions: ClassVar[str] = "original"
    one_ranking: ClassVar[bool] = False

    @abstractmethod
    def layers_of(self, depth: int) -> tuple[int, ...]:
        """The layers at whose input tokens are dropped, ascending, in an LLM of `depth` layers."""

    @abstractmethod
    def stages(self, size: int, budget: int, depth: int) -> tuple[Stage, ...]:
        """One for each of `layers_of(depth)`, for an image of N = `size` visual tokens and K = `budget`."""

    def raters(self, text: Tensor, visual: Tensor) -> Tensor | None:
        """(T,) bool: the text tokens whose attention rates visual tokens; None for the last one of the prompt.

        text: (T, D) input embeddings of the text after the images. visual: (N, D) of the visual tokens.
        """
        return None

    def drop(self, stage: Stage, attention: Tensor, hidden: Tensor | None) -> Drop:
        """Decide on the n visual tokens of one image at one stage.

        attention: (H, R, n) float, from R raters, in the layer before. hidden: (n, D), what the stage's layer is given;
        only a method that merges tokens needs it. Ranks by the mean over heads and raters, ties by lower index.
        """
        ranking = attention.float().mean(dim=(0, 1))
        return Drop(top_k(ranking, stage.keep).sort().values, (), ranking)

    def layer_tokens(self, size: int, budget: int, depth: int) -> tuple[int, ...]:
        stages = self.stages(size, budget, depth)
        return tuple(next((one.size for one in reversed(stages) if one.layer <= layer), size) for layer in range(depth))

    def whole_layers(self, size: int, budget: int, depth: int) -> int:
        stages = self.stages(size, budget, depth)
        return next((one.layer for one in stages if one.keep < size), depth)

    def choose(self, scores: TokenScores, budget: int) -> Choice:
        raise InputError(f"{self.name} chooses inside the LLM: pass its attention row to select_from_attention.")

    def selection_after(self, size: int, budget: int, depth: int, drops: Sequence[Drop]) -> Selection:
        """The selection of one image after its stages.

        Kept are the tokens that reach the last layer, merged ones in the place of their first. `report`:
        `layer_averaged_budget`, the mean number of visual tokens that a layer processes, the number to compare methods
        by; `mean_output`, the mean that layers put out; `ranking`, (N,) float32, the first stage's; `drops`, all that
        was decided.
        """
        device = drops[0].ranking.device
        alive = torch.arange(size, device=device)
        for one in drops:
            alive = alive[one.order]
        kept = torch.zeros(size, dtype=torch.bool, device=device)
        kept[alive] = True
        processed = self.layer_tokens(size, budget, depth)
        report = {
            "layer_averaged_budget": sum(processed) / depth,
            "mean_output": (sum(processed[1:]) + int(kept.sum())) / depth,
            "ranking": drops[0].ranking,
            "drops": tuple(drops),
        }
        ranking = drops[0].ranking if self.one_ranking else None
        return self.selection(Choice(kept, ranking=ranking, report=report), budget)

    def select_from_attention(
        self, attention: Tensor, budget: int, layers: int, hidden: Tensor | None = None
    ) -> Selection:
        """Select the tokens of one image by one attention row, the same at every stage.

        attention: (H, N) float, from one rater to the visual tokens. budget: K. layers: number of LLM layers. hidden:
        (N, D), for methods that merge tokens. Merged tokens take the mean of their attention and hidden states. Raises
        ScoreError, BudgetError, and InputError if the LLM has too few layers.
        """
        if attention.dim() != 2:
            raise ScoreError(f"The attention row must have shape (heads, N); got {tuple(attention.shape)}.")
        size = attention.shape[1]
        budget = check_budget(budget, size)
        row = check_scores("attention", attention)
        drops = []
        for stage in self.stages(size, budget, layers):
            made = self.drop(stage, row[:, None], hidden)
            row = merged(row.T, made).T
            hidden = None if hidden is None else merged(hidden, made)
            drops.append(made)
        return self.selection_after(size, budget, layers, drops)


def merged(states: Tensor, drop: Drop) -> Tensor:
    """(size, D) states after a stage, from (n, D) before it: those of kept tokens, then the means of the groups."""
    return torch.cat([states[drop.kept], *(states[group].mean(dim=0, keepdim=True) for group in drop.groups)])


def check_depth(layers: Sequence[int], depth: int) -> None:
    """InputError unless an LLM of `depth` layers has these layers to prune at."""
    for layer in layers:
        if not 1 <= layer <= depth:
            raise InputError(f"layer must be between 1 and the {depth} layers of the LLM; got {layer}.")


def scaled(layers: Sequence[int], of: int, depth: int) -> tuple[int, ...]:
    """Layers of an LLM of `of` layers at the same fractions of one of `depth` layers: ascending, each once, from 1."""
    found: list[int] = []
    for layer in layers:
        at = max(1, found[-1] + 1 if found else 1, round(layer * depth / of))
        if at < max(2, depth):
            found.append(at)
    return tuple(found) or (1,)
