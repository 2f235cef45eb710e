"""Everything one running page is made of, handed to the tabs."""

from __future__ import annotations

from dataclasses import dataclass

from app.serving.ask import Service
from app.serving.exports import Exports
from app.serving.first_screen import FirstScreen
from app.serving.scenes import SceneFolder
from app.settings import Settings


@dataclass(frozen=True)
class AppContext:
    """settings: as started. service: what answers. scenes: what draws. first: the first screen.
    exports: files to download. gpu: whether there is one to run a large model. fallback: a sentence where another model
    answers than was asked for, else empty."""

    settings: Settings
    service: Service
    scenes: SceneFolder
    first: FirstScreen
    exports: Exports
    gpu: bool = False
    fallback: str = ""
