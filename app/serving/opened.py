"""Runs that were opened from files: how they choose, and which settings they bring."""

from __future__ import annotations

from adafv_core.errors import InputError
from adafv_core.methods import get_method
from adafv_core.saved_run import SavedRun
from adafv_core.types import Selection
from app.serving.sessions import Run
from app.settings import Settings
from app.wire.parse import AskSettings


def own_selection(run: Run) -> Selection | None:
    """The selection of an opened run whose method cannot choose again from scores alone."""
    if run.from_file is None or run.selection is None:
        return None
    try:
        get_method(run.method, **run.options).select(run.scores, run.selection.budget)
    except InputError:
        return run.selection
    return None


def more_of(saved: SavedRun, settings: Settings) -> AskSettings:
    """The folded settings that ask as a saved run was asked; those it says nothing of are at their defaults."""
    asked = {**AskSettings().options_for(saved.method), **saved.options}
    known = {name: asked[name] for name in AskSettings().options_for(saved.method)}
    most = min(saved.max_new_tokens or AskSettings.max_new_tokens, settings.max_new_tokens)
    return AskSettings(**known, max_new_tokens=most, compare=saved.answers["full"] is not None)
