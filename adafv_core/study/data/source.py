"""Where a data set comes from, as plain values that another machine can open too; and one question about a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from adafv_core.errors import InputError
from adafv_core.study.data.base import DataSet, Item
from adafv_core.study.data.image_folder import folder_of
from adafv_core.study.data.parquet import ParquetSet
from adafv_core.study.data.pocket import STUDY_SCENES, PocketSet
from adafv_core.study.data.user import open_user_set


@dataclass(frozen=True)
class DataSource:
    """A data set by its place. Every machine that opens it has to see the same files.

    images: a folder of pictures; annotations: COCO- or VQA-style files about them. parquet: Parquet files, or one
    folder of them. Each is a path, or a URL of fsspec such as s3://bucket/folder. question: asked of every picture
    that has none. Without any of these, the bundled scenes of `split`.
    """

    images: str = ""
    annotations: tuple[str, ...] = ()
    parquet: tuple[str, ...] = ()
    question: str | None = None
    split: str = "study"
    scenes: int = STUDY_SCENES
    held_out: bool = False
    strict: bool = False

    def open(self) -> DataSet:
        """Read it. Raises InputError if it is not there, or if its files are none that are known."""
        if self.parquet:
            return ParquetSet(_tables(self.parquet), self.question)
        if self.images and self.annotations:
            return open_user_set(path_of(self.images), [path_of(one) for one in self.annotations], self.strict)
        if self.images and self.question:
            return OneQuestionSet(path_of(self.images), self.question)
        if self.images or self.annotations:
            raise InputError("Your own data needs both: --images FOLDER and --annotations FILE.")
        return PocketSet(self.split, self.scenes, self.held_out)


class OneQuestionSet(DataSet):
    """The same question about every picture of a folder, without accepted answers."""

    has_objects = False

    def __init__(self, folder: Path, question: str) -> None:
        self.name = folder.name
        self._folder = folder_of(folder)
        self.items = tuple(Item(key, key, question, (), "question") for key in self._folder.files)

    def picture(self, image: str) -> Image.Image:
        return self._folder.open(image)

    def picture_id(self, image: str) -> str:
        return self._folder.content_id(image)


def path_of(place: str) -> Path:
    """A path, or for a URL an object that is used like one. Raises InputError if that needs a package."""
    if "://" not in place:
        return Path(place)
    try:
        from upath import UPath
    except ImportError:
        raise InputError(f"{place} needs universal_pathlib: pip install universal_pathlib") from None
    try:
        found: Path = UPath(place)
        return found
    except (ValueError, ImportError) as error:
        raise InputError(f"{place} cannot be opened: {error}") from None


def _tables(places: tuple[str, ...]) -> list[Path]:
    paths = [path_of(place) for place in places]
    found = [file for path in paths for file in (sorted(path.rglob("*.parquet")) if path.is_dir() else [path])]
    missing = [path.name for path in found if not path.is_file()]
    if missing or not found:
        raise InputError(f"There is no Parquet file {missing[0] if missing else 'in ' + places[0]!r}.")
    return found
