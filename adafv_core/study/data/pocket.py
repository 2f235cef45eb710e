"""The bundled data set: drawn scenes of a split, each with up to one question from each of the seven families."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adafv_core.checks import whole
from adafv_core.errors import InputError
from adafv_core.pocket.world.drawing import draw_scene, thing_mask
from adafv_core.pocket.world.questions import SceneQuestion, question_set
from adafv_core.pocket.world.scenes import Scene
from adafv_core.pocket.world.world import SPLITS
from adafv_core.study.data.base import DataSet, Item

STUDY_SCENES = 400


class PocketSet(DataSet):
    """Scenes 0..scenes-1 of a split of the pocket world.

    split: "study" for reported results, "validation" for anything that is tuned. Object ids are indices into
    `scene.things`. A relation question names one object but needs two, since the answer is the other one.
    """

    def __init__(self, split: str = "study", scenes: int = STUDY_SCENES, held_out: bool = False) -> None:
        if split not in SPLITS:
            raise InputError(f"split must be one of {', '.join(SPLITS)}; got {split!r}.")
        whole("scenes", scenes, 1)
        self.name = f"pocket {split}" + (" held-out phrasings" if held_out else "")
        self.split = split
        pairs = question_set(split, scenes, held_out)
        self.scenes: dict[str, Scene] = {str(scene.seed): scene for scene, _ in pairs}
        self.items = tuple(_item(scene, question) for scene, question in pairs)

    def picture(self, image: str) -> Image.Image:
        return draw_scene(self.scenes[image])

    def picture_id(self, image: str) -> str:
        return image  # the seed that the scene is drawn from

    def object_ids(self, image: str) -> tuple[int, ...]:
        return tuple(range(len(self.scenes[image].things)))

    def object_mask(self, image: str, object_id: int) -> NDArray[np.float32]:
        mask = thing_mask(self.scenes[image].things[object_id])
        return np.asarray(mask, dtype=np.float32) / np.float32(255)


def _item(scene: Scene, question: SceneQuestion) -> Item:
    named = question.targets[:1] if question.family == "relation" else question.targets
    group = f"existence {question.answer}" if question.family == "existence" else ""
    return Item(
        key=f"{scene.seed}/{question.family}",
        image=str(scene.seed),
        question=question.text,
        answers=(question.answer,),
        family=question.family,
        group=group,
        named=named,
        needed=question.targets,
    )
