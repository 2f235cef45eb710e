"""One prompt of a batch while visual tokens are dropped between LLM layers: which of its tokens are left, and where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from adafv_core.errors import InputError
from adafv_core.grid import newlines_to_keep, stock_positions
from adafv_core.methods.inside import Drop, InsideMethod, Stage
from adafv_core.models.base import Adapter
from adafv_core.types import PlacedImage, Row, Selection

Groups = list[tuple[int, Tensor]]
"""Places of tokens that are means of others, and the places of these before the stage."""


class _Image:
    """An image of the prompt. tokens, newlines: (N,) and (R,) int64, their places in the whole prompt."""

    def __init__(
        self, placed: PlacedImage, method: InsideMethod, budget: int, depth: int, given: Selection | None
    ) -> None:
        self.visual = placed.visual
        size = placed.visual.size
        tokens, newlines = stock_positions(size, placed.visual.newline_after)
        self.tokens, self.newlines = placed.places[tokens], placed.places[newlines]
        self.alive = torch.arange(size)
        self.budget, self.given = budget, given
        self.stages = method.stages(size, budget, depth)
        self.drops: list[Drop] = []
        self.followed = None if given is None else _drops_of(given, self.stages)

    @property
    def end(self) -> int:
        """The last place of the image in the whole prompt."""
        return max(int(self.tokens[-1]), int(self.newlines[-1]) if self.newlines.numel() else 0)


class PrunedRow:
    """The tokens of one prompt that are left. current: (L',) int64, their places in the whole prompt, in the order in
    which they stand; a merged token has the place of the first that it is made of. lengths: L' before the first stage
    and after each.
    """

    def __init__(
        self,
        row: Row,
        method: InsideMethod,
        budgets_of: Callable[[Row], Sequence[int]],
        depth: int,
        newline: str,
        raters: Tensor,
        given: Sequence[Selection],
    ) -> None:
        self.method, self.depth, self.newline = method, depth, newline
        self.length = row.ids.numel()
        self.current = torch.arange(self.length)
        self.lengths = [self.length]
        made_earlier: Sequence[Selection | None] = given or [None] * len(row.images)
        budgets = [made.budget for made in given] if given else budgets_of(row)
        self.images = [
            _Image(one, method, budget, depth, made)
            for one, budget, made in zip(row.images, budgets, made_earlier, strict=True)
        ]
        self.n_newline = sum(image.newlines.numel() for image in self.images)
        self._raters = raters

    def raters(self) -> Tensor:
        """(R,) int64: where the tokens that rate stand now."""
        return torch.isin(self.current, self._raters).nonzero()[:, 0]

    def step(self, attention: Tensor, hidden: Tensor | None) -> tuple[Tensor, Groups]:
        """One stage. attention: (H, R, L) of the raters; hidden: (L, D), what the stage's layer is given.

        Returns (L',) int64, what is left as places in the sequence before the stage, and the merged tokens.
        """
        key = torch.arange(self.current.numel(), dtype=torch.float64)
        stays = torch.ones(self.current.numel(), dtype=torch.bool)
        members: dict[int, Tensor] = {}
        self.n_newline = 0
        for image in self.images:
            at = _places_of(image.tokens[image.alive], self.current)
            drop = self._drop(image, attention[:, :, at.to(attention.device)], hidden, at)
            image.drops.append(drop)
            order = drop.order.cpu()
            stays[at] = False
            stays[at[order]] = True
            unchanged = order.numel() == at.numel() and not drop.groups
            # Merged tokens stand behind all that is left of their image.
            behind = int((self.current <= image.end).nonzero()[-1])
            behind = max(behind, int(at.max()))
            for number, group in enumerate(drop.groups, 1):
                center = int(at[group[0].cpu()])
                key[center] = behind + number / (len(drop.groups) + 1)
                members[center] = at[group.cpu()]
            image.alive = image.alive[order]
            newlines = torch.isin(self.current, image.newlines)
            if not unchanged:
                stays &= ~newlines
                if self.newline == "rows" and image.newlines.numel():
                    left = torch.zeros(image.visual.size, dtype=torch.bool)
                    left[image.alive] = True
                    after = image.visual.newline_after
                    assert after is not None
                    closing = newlines_to_keep(image.visual.grid, left, after.cpu())
                    stays |= torch.isin(self.current, image.newlines[closing])
            self.n_newline += int((stays & newlines).sum())
        chosen = stays.nonzero()[:, 0]
        chosen = chosen[key[chosen].argsort(stable=True)]
        merged = [(int((chosen == center).nonzero()[0]), group) for center, group in members.items()]
        self.current = self.current[chosen]
        self.lengths.append(self.current.numel())
        return chosen, merged

    def _drop(self, image: _Image, attention: Tensor, hidden: Tensor | None, at: Tensor) -> Drop:
        number = len(image.drops)
        if image.followed is not None:
            return image.followed[number]
        states = None if hidden is None else hidden[at.to(hidden.device)]
        return self.method.drop(image.stages[number], attention, states)

    def selections(self) -> tuple[Selection, ...]:
        """One for each image, once all stages are done; a selection that was followed is returned itself."""
        return tuple(
            image.given
            if image.given is not None
            else replace(
                self.method.selection_after(image.visual.size, image.budget, self.depth, image.drops),
                image_key=image.visual.image_key,
                model_key=image.visual.model_key,
            )
            for image in self.images
        )


def _places_of(wanted: Tensor, current: Tensor) -> Tensor:
    """Where each of (n,) places of the whole prompt stands in (L',) `current`."""
    where = torch.full((int(current.max()) + 1,), -1)
    where[current] = torch.arange(current.numel())
    return where[wanted]


def _drops_of(given: Selection, stages: tuple[Stage, ...]) -> tuple[Drop, ...]:
    """What a selection made earlier dropped at each stage. Raises InputError where it does not say."""
    drops = given.report.get("drops")
    if drops is not None and len(drops) == len(stages):
        return tuple(drops)
    if len(stages) == 1:
        return (Drop(given.indices, (), given.mixed),)
    raise InputError(f"This selection of {given.method} does not say what each of its layers kept; select anew.")


def raters_of(adapter: Adapter, method: InsideMethod, row: Row) -> Tensor:
    """(R,) int64: the places in the prompt of the tokens whose attention rates visual tokens."""
    last = torch.tensor([row.ids.numel() - 1])
    if not row.images:
        return last
    after = int(row.images[-1].places[-1]) + 1
    features = [image.visual.required("features", method.name) for image in row.images]
    if after >= row.ids.numel():
        return last
    text = adapter.embed(row.ids[after:])
    found = method.raters(text, torch.cat([one.to(text.device) for one in features]))
    return last if found is None else after + found.nonzero()[:, 0].cpu()
