"""The context that every tab and endpoint of a running page receives."""

from __future__ import annotations

from dataclasses import dataclass

from app.serving.ask import Service
from app.serving.exports import Exports
from app.serving.first_screen import FirstScreen
from app.serving.scenes import SceneFolder
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
