"""The context that every tab and endpoint of a running page receives."""

from __future__ import annotations

from dataclasses import dataclass

from app.serving.ask import Service
from app.serving.exports import Exports
from app.serving.first_screen import FirstScreen
from app.serving.scenes import SceneFolder
from app.serving.sessions import Run
from app.settings import Settings


@dataclass(frozen=True)
class AppContext:
    """settings: those the page was started with. service: answers questions. scenes: draws scenes. first: the first
    screen. exports: files for download. gpu: whether this machine has a GPU. fallback: one sentence if a model other
    than the requested one answers, else empty.
    """

    settings: Settings
    service: Service
    scenes: SceneFolder
    first: FirstScreen
    exports: Exports
    gpu: bool = False
    fallback: str = ""

    def correct_answer(self, run: Run) -> str | None:
        """The right answer to a run's question, if it is about one drawn scene and comes with it."""
        if run.more_scores:
            return None
        return self.scenes.correct_answer(self.service.scene_of(run.scores.visual.picture_key), run.prompt)
