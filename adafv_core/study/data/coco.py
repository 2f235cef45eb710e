"""COCO-style annotations as a data set: objects, and captions, questions, or questions made from the objects."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adafv_core.errors import InputError
from adafv_core.study.data.annotation_file import AnnotationFile, Omissions
from adafv_core.study.data.answers import accepted_answers
from adafv_core.study.data.base import DataSet, Item, unique_keys
from adafv_core.study.data.coco_index import CocoImage, CocoIndex, entries_of
from adafv_core.study.data.coco_shapes import has_runs, reach_of, shape_of
from adafv_core.study.data.image_folder import Header, ImageFolder

EXISTENCE_PER_PICTURE = 3


class CocoSet(DataSet):
    """Pictures with annotated objects.

    files: one or more, each an object with `images` [{id, file_name, width, height}], `annotations` and, for objects,
    `categories` [{id, name}]. An annotation has `image_id` and is an object (`bbox` or `segmentation`,
    `category_id`), a caption (`caption`), or a question (`question` with `answer` or `answers`; `objects`: ids of the
    annotations it is about; `family`). Ids are those of the same file, or of another file that has them; entries of
    two files are one image if they have one id and one picture.

    Objects are located according to `width` and `height`, see `placement_of`. Those of an image without them are taken
    for pixels of the picture, which `notes` says; if one reaches outside, all of them are left out. A question without
    `objects` is about the objects whose category its text names. A caption has no right answer: only figures 2 to 4
    are measured on it, for the categories it names. Without questions and captions, existence questions are generated
    as in POPE: "yes" for up to three categories of a picture, "no" for as many drawn from the other categories;
    always the same ones.

    An entry that cannot be used is left out and listed in `omissions`; with `strict` it raises InputError. So does a
    file without the required lists, and a set in which nothing usable is left.
    """

    def __init__(self, files: Sequence[AnnotationFile], folder: ImageFolder, strict: bool = False) -> None:
        self.folder = folder
        self.name = " + ".join(file.name.removesuffix(".json") for file in files)
        self._omissions = Omissions(strict)
        self._index = CocoIndex(files, folder, self._omissions)
        annotations = [
            (number, file, index, entry)
            for number, file in enumerate(files)
            for index, entry in enumerate(entries_of(file, "annotations"))
        ]
        for number, file, index, entry in annotations:
            if "caption" not in entry and "question" not in entry:
                self._note_reach(number, file, index, entry)
        for number, file, index, entry in annotations:
            if "caption" not in entry and "question" not in entry:
                self._read_object(number, file, index, entry)
        self.notes = self._index.assumed_sizes()
        items: list[Item] = []
        for number, file, index, entry in annotations:
            if "caption" in entry or "question" in entry:
                with self._omissions.leaving_out():
                    items += self._read_text(number, file, index, entry)
        items = items or [item for image in self._index.images.values() for item in self._existence(image)]
        self._index.close()
        self.omissions = tuple(self._omissions.found)
        if not items:
            reason = f" {self.omissions[0].where}: {self.omissions[0].why}." if self.omissions else ""
            raise InputError(f"{self.name}: no object, caption or question belongs to any of its pictures.{reason}")
        order = {key: place for place, key in enumerate(self._index.images)}
        self.items = unique_keys(sorted(items, key=lambda item: order[item.image]))
        self.has_objects = any(image.shapes for image in self._index.images.values())

    def picture(self, image: str) -> Image.Image:
        return self.folder.open(self._index.images[image].file)

    def picture_id(self, image: str) -> str:
        return self.folder.content_id(self._index.images[image].file)

    def object_ids(self, image: str) -> tuple[int, ...]:
        return tuple(self._index.images[image].shapes)

    def object_mask(self, image: str, object_id: int) -> NDArray[np.float32]:
        return self._index.images[image].shapes[object_id].mask()

    def objects_id(self, image: str) -> str:
        one = self._index.images[image]
        text = repr([(number, one.categories[number], shape.key()) for number, shape in one.shapes.items()])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _note_reach(self, number: int, file: AnnotationFile, index: int, entry: dict[str, Any]) -> None:
        """Let the image of an object know how far the object reaches."""
        image = self._index.find_image(number, entry)
        if image is not None and image.size is None:
            image.reach = tuple(map(max, image.reach, reach_of(entry)))  # type: ignore[assignment]

    def _read_object(self, number: int, file: AnnotationFile, index: int, entry: dict[str, Any]) -> None:
        image = None
        before = len(self._omissions.found)
        with self._omissions.leaving_out():
            image = self._index.image_of(number, file, index, entry)
            if image is not None:
                self._add_object(image, number, file, index, entry)
        if image is not None and len(self._omissions.found) > before:
            image.unusable_categories.add(self._index.category_of(number, entry) or "")
            if isinstance(entry.get("id"), int) and entry["id"] not in image.shapes:
                image.unusable_ids.add(entry["id"])

    def _add_object(
        self, image: CocoImage, number: int, file: AnnotationFile, index: int, entry: dict[str, Any]
    ) -> None:
        category = self._index.category_of(number, entry)
        if category is None:
            why = f"`category_id` {entry.get('category_id')!r} is not one of the categories"
            raise file.error(why, "annotations", index, "category_id")
        own_id = entry.get("id")
        if not isinstance(own_id, int) or isinstance(own_id, bool) or own_id in image.shapes:
            raise file.error("an object needs an `id` of its own, a whole number", "annotations", index, "id")
        if image.is_smaller_copy and not has_runs(entry):
            why = (
                "objects of this image reach outside its picture, which may be a resized copy, and the image has no "
                "`width` and `height` to place them by; add both"
            )
            raise file.error(why, "annotations", index)
        try:
            # The size of a picture that cannot be read is unknown, but such a picture is never asked about.
            shape = shape_of(entry, image.size, image.header or Header(image.size or (1 << 12, 1 << 12), 1))
        except ValueError as error:
            field = ("segmentation",) if entry.get("segmentation") else ("bbox",) if "bbox" in entry else ()
            raise file.error(str(error), "annotations", index, *field) from None
        image.shapes[own_id] = shape
        image.categories[own_id] = category

    def _read_text(self, number: int, file: AnnotationFile, index: int, entry: dict[str, Any]) -> list[Item]:
        """The question or caption of one annotation; nothing if its image was left out."""
        image = self._index.image_of(number, file, index, entry)
        if image is None:
            return []
        kind = "question" if "question" in entry else "caption"
        text = entry[kind]
        if not isinstance(text, str) or not text.strip():
            raise file.error(f"`{kind}` must be text", "annotations", index, kind)
        named, needed = self._about(file, index, entry, image, text)
        answers = accepted_answers(file, entry, "annotations", index) if kind == "question" else ()
        family = str(entry.get("family", "question")) if kind == "question" else "caption"
        key = f"{file.name}/{entry.get('id', index)}"
        return [Item(key, image.key, text.strip(), answers, family, "", named, needed)]

    def _about(
        self, file: AnnotationFile, index: int, entry: dict[str, Any], image: CocoImage, text: str
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Ids of the named objects and of the needed ones. If one of them was left out, none counts as named, since the
        tokens of the missing one would be measured as off the object.
        """
        given = entry.get("objects")
        if given is None:
            about = tuple(one for one, category in image.categories.items() if names(text, category))
            missing = any(not category or names(text, category) for category in image.unusable_categories)
            return () if missing else about, about
        known = image.shapes.keys() | image.unusable_ids
        if not isinstance(given, list) or any(not isinstance(one, int) or one not in known for one in given):
            raise file.error(
                "`objects` must be a list of ids of objects in the same picture", "annotations", index, "objects"
            )
        about = tuple(one for one in given if one in image.shapes)
        return about if len(about) == len(given) else (), about

    def _existence(self, image: CocoImage) -> list[Item]:
        """Questions generated from the objects of one image."""
        rng = random.Random(f"existence/{image.key}")
        ids_of: dict[str, list[int]] = {}
        for number, category in image.categories.items():
            ids_of.setdefault(category, []).append(number)
        present = rng.sample(sorted(ids_of), min(EXISTENCE_PER_PICTURE, len(ids_of)))
        # An object that was left out is still in the picture.
        unsure = self._index.category_names if "" in image.unusable_categories else image.unusable_categories
        others = sorted(self._index.category_names - ids_of.keys() - unsure)
        absent = rng.sample(others, min(len(present), len(others)))
        items = []
        for name, answer in [(one, "yes") for one in present] + [(one, "no") for one in absent]:
            article = "an" if name[0] in "aeiou" else "a"
            text = f"Is there {article} {name} in the image?"
            needed = tuple(ids_of.get(name, ()))
            named = () if name in unsure else needed
            key = f"{image.key}/{name}"
            items.append(Item(key, image.key, text, (answer,), "existence", f"existence {answer}", named, needed))
        return items


def names(text: str, category: str) -> bool:
    """Whether a text names a category, alone or in a simple plural."""
    return re.search(rf"\b{re.escape(category)}(s|es)?\b", text.lower()) is not None
