"""COCO-style annotations as a data set: objects, and captions, questions, or questions made from the objects."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adafv_core.errors import InputError
from adafv_core.study.data.answers import accepted_answers
from adafv_core.study.data.base import DataSet, Item
from adafv_core.study.data.coco_masks import object_mask, problem
from adafv_core.study.data.image_folder import Folder
from adafv_core.study.data.json_with_lines import Document

EXISTENCE_PER_PICTURE = 3


class CocoSet(DataSet):
    """Pictures with annotated objects.

    documents: one or more files, each an object with `images` [{id, file_name}], `annotations` and, for objects,
    `categories` [{id, name}]; images and categories of several files are joined by id. An annotation has `image_id`
    and is an object (`bbox` or `segmentation`, `category_id`), a caption (`caption`), or a question (`question` with
    `answer` or `answers`; `objects`: ids of the annotations it is about; `family`).

    A question without `objects` is about the objects whose category its text names. A caption has no right answer:
    only figures 2 to 4 are measured on it, for the categories it names. Where there are neither, questions of
    existence are made as POPE does: for up to three categories of a picture "yes", for as many drawn from the other
    categories "no", the same every time. Raises InputError with file and line.
    """

    def __init__(self, documents: Sequence[Document], folder: Folder) -> None:
        self.folder = folder
        self.name = " + ".join(document.name.removesuffix(".json") for document in documents)
        self._file_of: dict[Any, str] = {}
        self._category: dict[Any, str] = {}
        self._objects: dict[str, dict[int, dict[str, Any]]] = {}
        self._size: dict[str, tuple[int, int]] = {}
        for document in documents:
            self._read_images(document)
            self._read_categories(document)
        for document in documents:
            self._read_objects(document)
        found = [item for document in documents for item in self._read_texts(document)]
        items = found or self._existence()
        if not items:
            raise InputError(f"{self.name}: no object, caption or question belongs to any of its pictures.")
        order = {image: place for place, image in enumerate(dict.fromkeys(self._file_of.values()))}
        self.items = tuple(sorted(items, key=lambda item: order[item.image]))
        self.has_objects = any(self._objects.values())

    def picture(self, image: str) -> Image.Image:
        picture = self.folder.open(image)
        self._size[image] = picture.size
        return picture

    def object_ids(self, image: str) -> tuple[int, ...]:
        return tuple(self._objects.get(image, {}))

    def object_mask(self, image: str, object_id: int) -> NDArray[np.float32]:
        return object_mask(self._objects[image][object_id], self._size.get(image) or self.picture(image).size)

    def _read_images(self, document: Document) -> None:
        for place, entry in enumerate(_entries(document, "images")):
            if "id" not in entry or not isinstance(entry.get("file_name"), str):
                raise document.wrong("an image needs `id` and `file_name`", "images", place)
            file = self.folder.find(entry["file_name"])
            if file is None:
                raise document.wrong(
                    f"the picture {entry['file_name']!r} is not in the folder", "images", place, "file_name"
                )
            self._file_of[entry["id"]] = file
            self._objects.setdefault(file, {})

    def _read_categories(self, document: Document) -> None:
        for place, entry in enumerate(_entries(document, "categories", needed=False)):
            if "id" not in entry or not str(entry.get("name") or "").strip():
                raise document.wrong("a category needs `id` and `name`", "categories", place)
            self._category[entry["id"]] = str(entry["name"]).strip().lower()

    def _read_objects(self, document: Document) -> None:
        for place, entry in enumerate(_entries(document, "annotations")):
            file = self._file_of.get(entry.get("image_id"))
            if file is None:
                raise document.wrong(
                    f"`image_id` {entry.get('image_id')!r} is none of the images", "annotations", place, "image_id"
                )
            if "caption" in entry or "question" in entry:
                continue
            wrong = problem(entry)
            if wrong is not None:
                raise document.wrong(wrong, "annotations", place)
            if entry.get("category_id") not in self._category:
                raise document.wrong(
                    f"`category_id` {entry.get('category_id')!r} is none of the categories",
                    "annotations",
                    place,
                    "category_id",
                )
            number = entry.get("id")
            if not isinstance(number, int) or number in self._objects[file]:
                raise document.wrong("an object needs an `id` of its own, a whole number", "annotations", place)
            self._objects[file][number] = entry

    def _read_texts(self, document: Document) -> list[Item]:
        items = []
        for place, entry in enumerate(_entries(document, "annotations")):
            kind = "question" if "question" in entry else "caption" if "caption" in entry else None
            if kind is None:
                continue
            text, file = entry[kind], self._file_of[entry["image_id"]]
            if not isinstance(text, str) or not text.strip():
                raise document.wrong(f"`{kind}` must be text", "annotations", place, kind)
            about = self._about(document, place, entry, file, text)
            answers = accepted_answers(document, entry, "annotations", place) if kind == "question" else ()
            family = str(entry.get("family", "question")) if kind == "question" else "caption"
            key = f"{document.name}/{entry.get('id', place)}"
            items.append(Item(key, file, text.strip(), answers, family, "", about, about))
        return items

    def _about(self, document: Document, place: int, entry: dict[str, Any], file: str, text: str) -> tuple[int, ...]:
        objects = self._objects[file]
        given = entry.get("objects")
        if given is None:
            return tuple(number for number, one in objects.items() if names(text, self._category[one["category_id"]]))
        if not isinstance(given, list) or any(not isinstance(number, int) or number not in objects for number in given):
            raise document.wrong(
                "`objects` must be a list of ids of objects in the same picture", "annotations", place, "objects"
            )
        return tuple(given)

    def _existence(self) -> list[Item]:
        items = []
        everything = sorted(set(self._category.values()))
        for file, objects in self._objects.items():
            rng = random.Random(f"existence/{file}")
            there: dict[str, list[int]] = {}
            for number, one in objects.items():
                there.setdefault(self._category[one["category_id"]], []).append(number)
            present = rng.sample(sorted(there), min(EXISTENCE_PER_PICTURE, len(there)))
            others = [name for name in everything if name not in there]
            absent = rng.sample(others, min(len(present), len(others)))
            for name, answer in [(one, "yes") for one in present] + [(one, "no") for one in absent]:
                article = "an" if name[0] in "aeiou" else "a"
                about = tuple(there.get(name, ()))
                text = f"Is there {article} {name} in the image?"
                items.append(
                    Item(f"{file}/{name}", file, text, (answer,), "existence", f"existence {answer}", about, about)
                )
        return items


def names(text: str, category: str) -> bool:
    """Whether a text names a category, alone or in a simple plural."""
    return re.search(rf"\b{re.escape(category)}(s|es)?\b", text.lower()) is not None


def _entries(document: Document, name: str, needed: bool = True) -> list[dict[str, Any]]:
    """A list of objects at the top of a file."""
    if name not in document.value:
        if needed:
            raise document.wrong(f"a COCO-style file needs a list `{name}`")
        return []
    entries = document.value[name]
    if not isinstance(entries, list):
        raise document.wrong(f"`{name}` must be a list", name)
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise document.wrong(f"every entry of `{name}` must be an object", name, place)
        for key in ("id", "image_id", "category_id"):
            if not isinstance(entry.get(key), int | str | None):
                raise document.wrong(f"`{key}` must be a number or text; got {entry[key]!r}", name, place, key)
    return entries
