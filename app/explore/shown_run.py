"""The run behind what a page shows, for the jobs that measure more about it in the background."""

from __future__ import annotations

from app.context import AppContext
from app.serving.sessions import Run, Session
from app.wire.parse import PageState

NO_VERDICT = "No verdict on this picture: the pocket model knows drawn scenes only."


def shown_run(context: AppContext, session: Session, state: PageState) -> Run | None:
    """The run whose maps the page shows; None if it was opened from a file, is not held any more, or its model is not
    loaded.
    """
    for run in (session.run, context.first.run):
        if run is not None and run.key == state.payload_key:
            return None if run.from_file or run.model not in context.service.pool.loaded() else run
    return None


def is_foreign(context: AppContext, run: Run) -> bool:
    """Whether the pocket model was asked about a picture that is no scene drawn here."""
    keys = [scores.visual.picture_key for scores in run.all_scores]
    return run.model == "pocket" and any(context.service.scene_of(key) is None for key in keys)
