"""A folder of the user's pictures, found by file name or by number."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from PIL import Image, ImageOps

from adafv_core.errors import ImageError, InputError
from adafv_core.images import to_rgb

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
Opener = Callable[[Path], Image.Image]


def open_picture(file: Path) -> Image.Image:
    """An RGB picture as `to_rgb` makes it, turned as its EXIF data say. Raises ImageError."""
    try:
        with Image.open(file) as picture:
            return to_rgb(ImageOps.exif_transpose(picture))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(f"The picture {file.name} cannot be read ({error}); expected JPEG, PNG or WebP.") from None


class Folder:
    """Pictures by name (the last part of a path) and by the number at the end of their name's stem.

    opener: reads a file into an RGB picture; raises ImageError.
    """

    def __init__(self, files: Iterable[Path], opener: Opener = open_picture) -> None:
        self.opener = opener
        self.files = {file.name: file for file in files if file.suffix.lower() in ENDINGS}
        self._numbered = {
            int(match.group()): name
            for name in self.files
            if (match := re.search(r"\d{1,18}$", Path(name).stem)) is not None
        }

    def find(self, name: str) -> str | None:
        """The file of that name, or whose number is this one; None if there is none."""
        last = re.split(r"[\\/]", name)[-1]
        if last in self.files:
            return last
        if name.isdigit() and len(name) <= 18:
            return self._numbered.get(int(name))
        return None

    def open(self, name: str) -> Image.Image:
        """The picture of a file that `find` found."""
        return self.opener(self.files[name])


def folder_of(path: Path) -> Folder:
    """All pictures in a folder and the folders in it. Raises InputError where there are none."""
    if not path.is_dir():
        raise InputError(f"--images must name a folder with pictures; there is no folder {path.name!r}.")
    folder = Folder(sorted(file for file in path.rglob("*") if file.is_file()))
    if not folder.files:
        raise InputError(f"The folder {path.name!r} holds no pictures ({', '.join(ENDINGS)}).")
    return folder
