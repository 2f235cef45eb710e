"""Data sets of the user's own, whatever their layout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adafv_core.errors import InputError
from adafv_core.study.data.base import DataSet
from adafv_core.study.data.coco import CocoSet
from adafv_core.study.data.image_folder import Folder, folder_of
from adafv_core.study.data.json_with_lines import read_json
from adafv_core.study.data.vqa import VqaSet

SUFFIX = "\nAnswer the question using a single word or phrase."
"""What LLaVA's own evaluation puts behind a short-answer question."""


def open_user_set(images: Path | Folder, annotations: Sequence[Path]) -> DataSet:
    """A folder of pictures with COCO-style files (all have `images`) or VQA-style ones (none has).

    Raises InputError, with file and line, for files that are neither.
    """
    folder = images if isinstance(images, Folder) else folder_of(images)
    if not annotations:
        raise InputError("Expected at least one annotation file.")
    documents = [read_json(file) for file in annotations]
    for document in documents:
        if not isinstance(document.value, dict | list):
            raise document.wrong("expected an object or a list at the top of the file")
    coco = [isinstance(document.value, dict) and "images" in document.value for document in documents]
    if all(coco):
        return CocoSet(documents, folder)
    if any(coco):
        odd = documents[coco.index(False)]
        raise odd.wrong("this file has no `images`, but another one has; give files of one kind")
    for document in documents:
        if isinstance(document.value, dict) and not {"questions", "annotations"} & set(document.value):
            raise document.wrong("expected `images` (COCO style) or `questions` (VQA style) at the top of the file")
    return VqaSet(documents, folder)
