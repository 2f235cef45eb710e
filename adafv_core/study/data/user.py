"""The user's own data, whatever its layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from adafv_core.errors import InputError
from adafv_core.study.data.annotation_file import read_annotation_file
from adafv_core.study.data.base import DataSet
from adafv_core.study.data.coco import CocoSet
from adafv_core.study.data.image_folder import ImageFolder, folder_of
from adafv_core.study.data.vqa import VqaSet

SUFFIX = "\nAnswer the question using a single word or phrase."
"""The suffix that LLaVA's own evaluation appends to short-answer questions."""


def open_user_set(images: Path | ImageFolder, annotations: Sequence[Path], strict: bool = False) -> DataSet:
    """A folder of pictures with COCO-style files (all have `images`) or VQA-style ones (none has).

    strict: raise at the first entry that cannot be used instead of leaving it out. Raises InputError for other files,
    and if no question is left.
    """
    folder = images if isinstance(images, ImageFolder) else folder_of(images)
    if not annotations:
        raise InputError("Expected at least one annotation file.")
    files = [read_annotation_file(path) for path in annotations]
    names = [file.name for file in files]
    for place, file in enumerate(files):
        if (earlier := names[:place].count(file.name)) > 0:
            files[place] = replace(file, name=f"{file.name.removesuffix('.json')} ({earlier + 1}).json")
        if not isinstance(file.value, dict | list):
            raise file.error("expected an object or a list at the top of the file")
    coco = [isinstance(file.value, dict) and "images" in file.value for file in files]
    if all(coco):
        return CocoSet(files, folder, strict)
    if any(coco):
        raise files[coco.index(False)].error("this file has no `images`, but another one has; give files of one kind")
    for file in files:
        if isinstance(file.value, dict) and not {"questions", "annotations"} & set(file.value):
            raise file.error("expected `images` (COCO style) or `questions` (VQA style) at the top of the file")
    return VqaSet(files, folder, strict)
