"""Questions and pictures in Parquet files, as data sets on the Hugging Face Hub have them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps, UnidentifiedImageError

from adafv_core.errors import ImageError, InputError
from adafv_core.images import to_rgb
from adafv_core.study.data.base import DataSet, Item, unique_keys

_KEPT_GROUPS = 2
_UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError, UnidentifiedImageError)


class ParquetSet(DataSet):
    """One question a row.

    Columns: `image`, the bytes of a picture file or a struct with them in `bytes`; `question`; optionally `answers`
    (a list of texts) or `answer`, and `id`. Pictures are read a row group at a time, when they are needed, so a set
    may be larger than the memory. files: paths, or URLs that universal_pathlib opens. question: asked of every row
    where there is no such column. Raises InputError for files that are no such table.
    """

    has_objects = False

    def __init__(self, files: Sequence[Path], question: str | None = None) -> None:
        try:
            from pyarrow import parquet
        except ImportError:
            raise InputError("Parquet files need pyarrow: pip install pyarrow") from None
        self.name = files[0].stem if len(files) == 1 else f"{files[0].stem} and {len(files) - 1} more"
        self._files = list(files)
        self._groups: dict[str, tuple[int, int, int]] = {}
        self._read = lru_cache(_KEPT_GROUPS)(self._read_group)
        items: list[Item] = []
        for place, file in enumerate(self._files):
            try:
                with file.open("rb") as opened, parquet.ParquetFile(opened) as table:
                    names = set(table.schema_arrow.names)
                    if "image" not in names or (question is None and "question" not in names):
                        raise InputError(f"{file.name} needs the columns image and question; it has {sorted(names)}.")
                    text_columns = [name for name in ("id", "question", "answers", "answer") if name in names]
                    for group in range(table.num_row_groups):
                        columns = table.read_row_group(group, columns=text_columns).to_pydict()
                        for row in range(table.metadata.row_group(group).num_rows):
                            image = f"{file.name}:{group}:{row}"
                            self._groups[image] = (place, group, row)
                            items.append(_item(image, {name: columns[name][row] for name in text_columns}, question))
            except (OSError, ValueError) as error:
                if isinstance(error, InputError):
                    raise
                raise InputError(f"{file.name} cannot be read as Parquet ({error}).") from None
        if not items:
            raise InputError("The Parquet files have no rows.")
        self.items = unique_keys(items)

    def picture(self, image: str) -> Image.Image:
        try:
            with Image.open(io.BytesIO(self._bytes(image))) as opened:
                return to_rgb(ImageOps.exif_transpose(opened))
        except _UNREADABLE as error:
            raise ImageError(f"The picture of row {image} cannot be read ({type(error).__name__}).") from None

    def picture_id(self, image: str) -> str:
        return hashlib.sha256(self._bytes(image)).hexdigest()[:16]

    def _bytes(self, image: str) -> bytes:
        place, group, row = self._groups[image]
        value = self._read(place, group)[row]
        content = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(content, bytes):
            raise ImageError(f"Row {image} holds no picture file in its column image.")
        return content

    def _read_group(self, place: int, group: int) -> list[Any]:
        from pyarrow import parquet

        with self._files[place].open("rb") as opened, parquet.ParquetFile(opened) as table:
            found: list[Any] = table.read_row_group(group, columns=["image"])["image"].to_pylist()
            return found


def _item(image: str, values: dict[str, Any], question: str | None) -> Item:
    answers = values.get("answers", values.get("answer"))
    accepted = answers if isinstance(answers, list) else [] if answers is None else [answers]
    return Item(
        key=str(values.get("id", image)),
        image=image,
        question=str(values.get("question", question)),
        answers=tuple(str(one) for one in accepted),
        family="question",
    )
