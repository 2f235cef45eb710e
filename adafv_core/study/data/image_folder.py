"""A folder of the user's pictures, looked up by path or by number."""

from __future__ import annotations

import hashlib
import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from adafv_core.errors import ImageError, InputError
from adafv_core.images import to_rgb

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
Opener = Callable[[Path], Image.Image]
_DECODING_ERRORS = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


def open_picture(file: Path) -> Image.Image:
    """An RGB picture, converted by `to_rgb` and rotated according to its EXIF data. Raises ImageError."""
    try:
        with file.open("rb") as opened, Image.open(opened) as picture:
            return to_rgb(ImageOps.exif_transpose(picture))
    except UnidentifiedImageError:  # its message holds the whole path
        why = "it is in no known format"
    except OSError as error:
        why = error.strerror or str(error)
    except _DECODING_ERRORS as error:
        why = str(error)
    raise ImageError(f"The picture {file.name} cannot be read ({why}); expected JPEG, PNG or WebP.")


@dataclass(frozen=True)
class Header:
    """Header of a picture file. stored: (width, height) before EXIF rotation. orientation: EXIF's, 1..8."""

    stored: tuple[int, int]
    orientation: int


@dataclass(frozen=True)
class Resolution:
    """Which picture each name refers to. files: name → key in the folder. problems: name → why there is none."""

    files: dict[str, str]
    problems: dict[str, str]


class ImageFolder:
    """Pictures by their path inside the folder.

    files: (path inside the folder, with "/"; file on disk). Two pictures may have the same path, as in uploads; that
    path is then ambiguous. opener: reads a file into an RGB picture; raises ImageError.
    """

    def __init__(self, files: Iterable[tuple[str, Path]], opener: Opener = open_picture) -> None:
        self.opener = opener
        self.files: dict[str, Path] = {}
        self._repeated: set[str] = set()
        self._by_path: dict[str, list[str]] = {}
        self._by_ending: dict[str, list[str]] = {}
        self._by_number: dict[int, list[str]] = {}
        self._content_id = cache(self._hash_content)
        for path, file in files:
            if file.suffix.lower() in ENDINGS:
                self._add(path, file)

    def resolve(self, names: Iterable[str]) -> Resolution:
        """Find the pictures that a set of names refers to.

        A name is a path. It matches, in this order: the picture at exactly that path; the only picture whose path ends
        in it; the picture whose path the name ends in ("val2014/1.jpg" for "1.jpg"); for a whole number, the only
        picture whose name ends in it. A name that fits several pictures is a problem, and so is one that would refer to
        the same picture as another name.
        """
        found = Resolution({}, {})
        claims: dict[str, dict[str, str]] = {}
        for name in dict.fromkeys(names):
            path = _normal_path(name)
            candidates = self._candidates(name, path)
            if len(candidates) == 1:
                found.files[name] = candidates[0]
                if not _is_number(name):
                    claims.setdefault(candidates[0], {})[name] = path
            elif candidates:
                listed = " or ".join(repr(one) for one in candidates[:3])
                more = f" (and {len(candidates) - 3} more)" if len(candidates) > 3 else ""
                found.problems[name] = f"{name!r} could be {listed}{more}; give its path inside the folder"
            else:
                found.problems[name] = f"the picture {name!r} is not in the folder"
        for key, names_of_key in claims.items():
            if len(set(names_of_key.values())) > 1:
                for name, path in names_of_key.items():
                    if path != _normal_path(key):
                        other = next(one for one in names_of_key if names_of_key[one] != path)
                        del found.files[name]
                        found.problems[name] = f"{name!r} and {other!r} would both be the picture {key!r}"
        return found

    def open(self, key: str) -> Image.Image:
        """The picture at a path inside the folder. Raises ImageError."""
        return self.opener(self.files[key])

    def content_id(self, key: str) -> str:
        """A hash of the file's bytes. Raises ImageError if it cannot be read."""
        return self._content_id(key)

    def header(self, key: str) -> Header | None:
        """Size and orientation without decoding the picture; None if the file is not a picture."""
        try:
            with self.files[key].open("rb") as opened, Image.open(opened) as picture:
                orientation = picture.getexif().get(ExifTags.Base.Orientation, 1)
                return Header(picture.size, orientation if orientation in range(1, 9) else 1)
        except _DECODING_ERRORS:
            return None

    def _add(self, path: str, file: Path) -> None:
        key, copies = path, 1
        while key in self.files:
            self._repeated.add(path)
            copies += 1
            key = f"{path} ({copies})"
        self.files[key] = file
        normal = _normal_path(path)
        self._by_path.setdefault(normal, []).append(key)
        steps = normal.split("/")
        for start in range(len(steps)):
            self._by_ending.setdefault("/".join(steps[start:]), []).append(key)
        if (number := re.search(r"[0-9]{1,18}$", Path(path).stem)) is not None:
            self._by_number.setdefault(int(number.group()), []).append(key)

    def _candidates(self, name: str, path: str) -> list[str]:
        exact = self._by_path.get(path, [])
        if exact:
            # Of two spellings of one path (composed and decomposed accents), the literal one.
            return [name] if name in exact and name not in self._repeated else exact
        if shorter := self._by_ending.get(path, []):
            return shorter
        steps = path.split("/")
        for start in range(1, len(steps)):
            if longer := self._by_path.get("/".join(steps[start:]), []):
                return longer
        return self._by_number.get(int(name), []) if _is_number(name) else []

    def _hash_content(self, key: str) -> str:
        try:
            with self.files[key].open("rb") as opened:
                return hashlib.file_digest(opened, "sha256").hexdigest()[:16]
        except OSError as error:
            raise ImageError(f"The picture {key} cannot be read ({error.strerror}).") from None


def folder_of(path: Path) -> ImageFolder:
    """All pictures in a folder and its sub-folders. Raises InputError if there are none."""
    if not path.is_dir():
        raise InputError(f"--images must name a folder with pictures; there is no folder {path.name!r}.")
    found = sorted(file for file in path.rglob("*") if file.is_file())
    folder = ImageFolder((file.relative_to(path).as_posix(), file) for file in found)
    if not folder.files:
        raise InputError(f"The folder {path.name!r} holds no pictures ({', '.join(ENDINGS)}).")
    return folder


def _normal_path(name: str) -> str:
    """A path with "/" as separator and composed accents, without a leading "/" and without "." and ".." steps."""
    path = posixpath.normpath(unicodedata.normalize("NFC", name).replace("\\", "/"))
    return re.sub(r"^(\.\./|/)+", "", path)


def _is_number(name: str) -> bool:
    return re.fullmatch(r"[0-9]{1,18}", name) is not None
