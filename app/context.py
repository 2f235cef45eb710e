"""What every tab and endpoint of one running page is given."""

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
    screen. exports: files to download. gpu: whether this machine has one. fallback: a sentence if another model answers
    than the one that was requested, else empty."""

    settings: Settings
    service: Service
    scenes: SceneFolder
    first: FirstScreen
    exports: Exports
    gpu: bool = False
    fallback: str = ""
