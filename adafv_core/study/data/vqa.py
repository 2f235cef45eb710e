"""VQA-style questions without objects, for accuracy (figure 1) only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from adafv_core.errors import InputError
from adafv_core.study.data.annotation_file import AnnotationFile, Omissions, Step, is_id
from adafv_core.study.data.answers import accepted_answers
from adafv_core.study.data.base import DataSet, Item, unique_keys
from adafv_core.study.data.image_folder import ImageFolder

_PICTURE_NAMES = ("image", "file_name", "image_id")
Answers = tuple[str, ...]


class VqaSet(DataSet):
    """Questions about pictures whose objects are not known.

    files: either lists of {question, answer or answers, image or image_id; family}, or VQA's layout: an object with
    `questions` [{question_id, image_id, question}], and one with `annotations` [{question_id, answers}], in the same
    file or another. A picture is found by its path in the folder, or by the number at the end of its name.

    An entry that cannot be used is left out and listed in `omissions`; with `strict` it raises InputError. So does a
    set in which no question is left.
    """

    has_objects = False

    def __init__(self, files: Sequence[AnnotationFile], folder: ImageFolder, strict: bool = False) -> None:
        self.folder = folder
        self.name = " + ".join(file.name.removesuffix(".json") for file in files)
        omissions = Omissions(strict)
        # By question id, then by the number of the file.
        self._answers: dict[int | str, dict[int, list[Answers]]] = {}
        for number, file in enumerate(files):
            self._read_answers(number, file, omissions)
        questions = [(number, file, *one) for number, file in enumerate(files) for one in _questions_of(file)]
        self._found = folder.resolve(name for *_, entry in questions if (name := _picture_name(entry)) is not None)
        items: list[Item] = []
        for number, file, path, entry in questions:
            with omissions.leaving_out():
                items.append(self._read_question(number, file, path, entry))
        self.omissions = tuple(omissions.found)
        if not items:
            reason = f" {self.omissions[0].where}: {self.omissions[0].why}." if self.omissions else ""
            raise InputError(
                f"{self.name}: no questions; expected a list of questions with answers, or an object with `questions`."
                f"{reason}"
            )
        order = {image: place for place, image in enumerate(dict.fromkeys(item.image for item in items))}
        self.items = unique_keys(sorted(items, key=lambda item: order[item.image]))

    def picture(self, image: str) -> Image.Image:
        return self.folder.open(image)

    def picture_id(self, image: str) -> str:
        return self.folder.content_id(image)

    def _read_question(self, number: int, file: AnnotationFile, path: tuple[Step, ...], entry: dict[str, Any]) -> Item:
        text, question_id = entry.get("question"), entry.get("question_id")
        if not isinstance(text, str) or not text.strip():
            raise file.error("a question needs `question`, as text", *path)
        if question_id is not None and not is_id(question_id):
            raise file.error("`question_id` must be a number or text", *path, "question_id")
        known = [] if question_id is None else self._answers_of(number, question_id)
        if len(known) > 1:
            raise file.error(f"`question_id` {question_id!r} has different answers in several places", *path)
        answers = known[0] if known else accepted_answers(file, entry, *path)
        key = f"{file.name}/{path[-1] if question_id is None else question_id}"
        image = self._image_of(file, path, entry)
        return Item(key, image, text.strip(), answers, str(entry.get("family", "question")))

    def _read_answers(self, number: int, file: AnnotationFile, omissions: Omissions) -> None:
        for index, entry in enumerate(_list_of(file, "annotations") if isinstance(file.value, dict) else []):
            with omissions.leaving_out():
                if not isinstance(entry, dict) or not is_id(entry.get("question_id")):
                    raise file.error("an answer needs `question_id`, a number or text", "annotations", index)
                answers = accepted_answers(file, entry, "annotations", index)
                known = self._answers.setdefault(entry["question_id"], {}).setdefault(number, [])
                if answers not in known:
                    known.append(answers)

    def _answers_of(self, number: int, question_id: int | str) -> list[Answers]:
        """The distinct sets of answers for a question in its own file, else in all others."""
        by_file = self._answers.get(question_id, {})
        found = by_file.get(number) or [answers for one in by_file.values() for answers in one]
        return list(dict.fromkeys(found))

    def _image_of(self, file: AnnotationFile, path: tuple[Step, ...], entry: dict[str, Any]) -> str:
        name = _picture_name(entry)
        if name is None:
            raise file.error("a question needs `image` (a path in the folder) or `image_id`", *path)
        if name in self._found.problems:
            raise file.error(self._found.problems[name], *path, next(one for one in _PICTURE_NAMES if one in entry))
        return self._found.files[name]


def _questions_of(file: AnnotationFile) -> list[tuple[tuple[Step, ...], dict[str, Any]]]:
    """(path, entry) of each question. An entry that is not an object is replaced by an empty one, which is rejected."""
    top: tuple[Step, ...] = () if isinstance(file.value, list) else ("questions",)
    entries = _list_of(file, "questions") if top else file.value
    return [((*top, index), entry if isinstance(entry, dict) else {}) for index, entry in enumerate(entries)]


def _list_of(file: AnnotationFile, name: str) -> list[Any]:
    entries = file.value.get(name, [])
    if not isinstance(entries, list):
        raise file.error(f"`{name}` must be a list", name)
    return entries


def _picture_name(entry: dict[str, Any]) -> str | None:
    """A question's name for its picture; None if it has none."""
    return next((str(entry[name]) for name in _PICTURE_NAMES if name in entry and is_id(entry[name])), None)
