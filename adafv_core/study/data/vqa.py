"""VQA-style questions without boxes: accuracy (figure 1) alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from adafv_core.errors import InputError
from adafv_core.study.data.answers import accepted_answers
from adafv_core.study.data.base import DataSet, Item
from adafv_core.study.data.image_folder import Folder
from adafv_core.study.data.json_with_lines import Document, Step


class VqaSet(DataSet):
    """Questions on pictures whose objects are not known.

    documents: either one list of {question, answer or answers, image or image_id; family}, or VQA's layout: an object
    with `questions` [{question_id, image_id, question}], and one with `annotations` [{question_id, answers}] (the
    same file or another). A picture is found by file name, or by the number at the end of its name. Raises InputError
    with file and line.
    """

    has_objects = False

    def __init__(self, documents: Sequence[Document], folder: Folder) -> None:
        self.folder = folder
        self.name = " + ".join(document.name.removesuffix(".json") for document in documents)
        self._answers = dict(pair for document in documents for pair in _answers(document))
        items = [item for document in documents for item in self._read(document)]
        if not items:
            raise InputError(
                f"{self.name}: no questions; expected a list of questions with answers, or an object with `questions`."
            )
        order = {image: place for place, image in enumerate(dict.fromkeys(item.image for item in items))}
        self.items = tuple(sorted(items, key=lambda item: order[item.image]))

    def picture(self, image: str) -> Image.Image:
        return self.folder.open(image)

    def _read(self, document: Document) -> list[Item]:
        top: tuple[Step, ...] = () if isinstance(document.value, list) else ("questions",)
        entries = document.value if not top else document.value.get("questions", [])
        if not isinstance(entries, list):
            raise document.wrong("`questions` must be a list", *top)
        items = []
        for place, entry in enumerate(entries):
            where = (*top, place)
            if not isinstance(entry, dict):
                raise document.wrong("a question must be an object", *where)
            text = entry.get("question")
            if not isinstance(text, str) or not text.strip():
                raise document.wrong("a question needs `question`, as text", *where)
            if not isinstance(entry.get("question_id"), int | str | None):
                raise document.wrong("`question_id` must be a number or text", *where, "question_id")
            known = self._answers.get(entry.get("question_id"))
            answers = known if known is not None else accepted_answers(document, entry, *where)
            key = f"{document.name}/{entry.get('question_id', place)}"
            family = str(entry.get("family", "question"))
            items.append(Item(key, self._image(document, entry, where), text.strip(), answers, family))
        return items

    def _image(self, document: Document, entry: dict[str, Any], where: tuple[Step, ...]) -> str:
        for name in ("image", "file_name", "image_id"):
            if name in entry:
                file = self.folder.find(str(entry[name]))
                if file is None:
                    raise document.wrong(f"no picture in the folder belongs to {entry[name]!r}", *where, name)
                return file
        raise document.wrong("a question needs `image` (a file name) or `image_id`", *where)


def _answers(document: Document) -> list[tuple[Any, tuple[str, ...]]]:
    """Answers by question id from a file's `annotations`."""
    if not isinstance(document.value, dict):
        return []
    entries = document.value.get("annotations", [])
    if not isinstance(entries, list):
        raise document.wrong("`annotations` must be a list", "annotations")
    found = []
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("question_id"), int | str):
            raise document.wrong("an answer needs `question_id`, a number or text", "annotations", place)
        found.append((entry["question_id"], accepted_answers(document, entry, "annotations", place)))
    return found
