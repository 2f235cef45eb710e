"""Runs that were opened from files: how they choose, and which settings they bring."""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields

from adafv_core.errors import BudgetError
from adafv_core.methods import METHODS
from adafv_core.runs import SavedRun
from adafv_core.types import Selection
from app.handlers import Desk
from app.inputs import Choice, More
from app.payload import OWN_RATIO_ONLY, payload
from app.settings import Settings
from app.visits import FromFile, Run


@dataclass(frozen=True)
class OpenedFile(FromFile):
    """A file's words on its run, with those that no other part of a Run holds."""

    keep_ratio: float


class OpenedDesk(Desk):
    """A desk that shows an opened run's own selection where its method needs more than scores to choose."""

    @classmethod
    def beside(cls, desk: Desk) -> OpenedDesk:
        """The same desk, for opened runs too."""
        return cls(**{one.name: getattr(desk, one.name) for one in fields(desk)})

    def select(self, run: Run, choice: Choice, stop: threading.Event | None = None) -> Selection:
        """As any desk. Raises BudgetError where an opened run holds no selection of this keep ratio."""
        own = own_selection(run)
        if own is None:
            return super().select(run, choice, stop)
        if not isinstance(run.from_file, OpenedFile) or choice.keep_ratio != run.from_file.keep_ratio:
            raise BudgetError(OWN_RATIO_ONLY)
        return own

    def payload(self, run: Run, choice: Choice, key: str, stop: threading.Event | None = None) -> str:
        """As any desk."""
        own = own_selection(run)
        if own is None:
            return super().payload(run, choice, key, stop)
        forced = (choice.force_keep, choice.force_drop)
        return payload(
            run.scores, run.picture, lambda budget: own, run.method, run.options, choice.keep_ratio, key, forced, own
        )


def own_selection(run: Run) -> Selection | None:
    """The selection of an opened run whose method cannot choose again from scores alone."""
    method = METHODS[run.method]
    return run.selection if run.from_file and (method.inside_llm or method.reads_features) else None


def more_of(saved: SavedRun, settings: Settings) -> More:
    """The folded settings that ask as a saved run was asked; those it says nothing of are at their defaults."""
    asked = {**More().options_for(saved.method), **saved.options}
    known = {name: asked[name] for name in More().options_for(saved.method)}
    most = min(saved.max_new_tokens or More.max_new_tokens, settings.max_new_tokens)
    return More(**known, max_new_tokens=most, compare=saved.answers["full"] is not None)
