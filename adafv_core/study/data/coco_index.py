"""The images and categories of COCO-style files, looked up by the ids in annotations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from adafv_core.study.data.annotation_file import AnnotationFile, EntryError, Omissions, is_id
from adafv_core.study.data.coco_shapes import Shape, Size, annotated_size, turned_size
from adafv_core.study.data.image_folder import Header, ImageFolder

T = TypeVar("T")


@dataclass(eq=False)
class CocoImage:
    """One image of the files.

    key: its name in the study. file: its key in the folder. size: annotated (width, height). header: None if the file
    is not a picture. reach: how far right and down its objects lie, where size is None. shapes, categories: of its
    usable objects, by annotation id. unusable_ids, unusable_categories: of the objects that were left out; "" stands
    for an unknown category.
    """

    key: str
    file: str
    size: Size | None
    header: Header | None
    shapes: dict[int, Shape] = field(default_factory=dict)
    categories: dict[int, str] = field(default_factory=dict)
    unusable_ids: set[int] = field(default_factory=set)
    unusable_categories: set[str] = field(default_factory=set)
    reach: tuple[float, float] = (0.0, 0.0)

    @property
    def is_smaller_copy(self) -> bool:
        """Whether objects reach outside of the picture and nothing says how large the annotated picture was."""
        if self.size is not None or self.header is None:
            return False
        shown = turned_size(self.header.stored, self.header.orientation)
        return any(far > side + 1 for far, side in zip(self.reach, shown, strict=True))  # COCO's boxes are rounded


class ById(Generic[T]):
    """Values by file number and by id within the file."""

    def __init__(self) -> None:
        self._by_id: dict[int | str, dict[int, T]] = {}

    def set(self, file: int, number: int | str, value: T) -> None:
        self._by_id.setdefault(number, {})[file] = value

    def own(self, file: int, wanted: object) -> T | None:
        """The value with this id in this file."""
        return self._by_id.get(wanted, {}).get(file) if is_id(wanted) else None  # type: ignore[call-overload]

    def find(self, file: int, wanted: object) -> T | None:
        """The value with this id in this file, else the one in the other files unless they disagree."""
        own = self.own(file, wanted)
        if own is not None or not is_id(wanted):
            return own
        others = list(self._by_id.get(wanted, {}).values())  # type: ignore[call-overload]
        return others[0] if others and all(other == others[0] for other in others) else None

    def remove(self, file: int, number: int | str) -> None:
        del self._by_id[number][file]

    def all_of(self, number: int | str) -> list[T]:
        """The values with this id in every file."""
        return list(self._by_id.get(number, {}).values())


class CocoIndex:
    """Images and categories of several files.

    images: usable ones by key, in order. category_names: all of them. Two entries are the same image only if both id
    and picture are the same; two ids with one picture stay two images. An unusable entry is recorded in `omissions`,
    with the number of annotations lost with it (after `close`).
    """

    def __init__(self, files: Sequence[AnnotationFile], folder: ImageFolder, omissions: Omissions) -> None:
        self.images: dict[str, CocoImage] = {}
        self.category_names: set[str] = set()
        self._folder, self._omissions = folder, omissions
        self._images: ById[CocoImage] = ById()
        self._categories: ById[str] = ById()
        self._omitted: ById[int] = ById()
        self._dependents: dict[int, int] = {}
        lists = [entries_of(file, "images") for file in files]
        names = (entry.get("file_name") for entries in lists for entry in entries)
        found = folder.resolve(name for name in names if isinstance(name, str))
        for number, (file, entries) in enumerate(zip(files, lists, strict=True)):
            for index, entry in enumerate(entries):
                before = len(omissions.found)
                with omissions.leaving_out():
                    if not is_id(entry.get("id")) or not isinstance(entry.get("file_name"), str):
                        raise file.error("an image needs `id`, a number or text, and `file_name`", "images", index)
                    if (problem := found.problems.get(entry["file_name"])) is not None:
                        raise file.error(problem, "images", index, "file_name")
                    self._add_image(number, file, index, entry, found.files[entry["file_name"]])
                if len(omissions.found) > before and is_id(entry.get("id")):
                    self._omitted.set(number, entry["id"], before)
            self._read_categories(number, file)

    def image_of(self, number: int, file: AnnotationFile, index: int, entry: dict[str, Any]) -> CocoImage | None:
        """The image of annotation `index`; None if that image was left out. Raises EntryError if there is none."""
        wanted = entry.get("image_id")
        omission = self._omitted.own(number, wanted)
        image = None if omission is not None else self._images.find(number, wanted)
        if image is not None:
            return image
        omission = self._omitted.find(number, wanted) if omission is None else omission
        if omission is None:
            raise file.error(f"`image_id` {wanted!r} is not one of the images", "annotations", index, "image_id")
        self._dependents[omission] = self._dependents.get(omission, 0) + 1
        return None

    def find_image(self, number: int, entry: dict[str, Any]) -> CocoImage | None:
        """The usable image of an annotation, if there is one."""
        omitted = self._omitted.own(number, entry.get("image_id")) is not None
        return None if omitted else self._images.find(number, entry.get("image_id"))

    def assumed_sizes(self) -> tuple[str, ...]:
        """What is said about images with objects whose entries have no `width` and `height`; nothing if all have."""
        count = sum(
            image.size is None and any(not shape.runs for shape in image.shapes.values())
            for image in self.images.values()
        )
        if not count:
            return ()
        subject = f"{count:,} images with objects have" if count > 1 else "1 image with objects has"
        return (
            f"{subject} no `width` and `height`: the objects are taken for pixels of the pictures as they are, which "
            "is wrong for resized copies.",
        )

    def category_of(self, number: int, entry: dict[str, Any]) -> str | None:
        """The name of an annotation's category, in lower case; None if there is none."""
        return self._categories.find(number, entry.get("category_id"))

    def close(self) -> None:
        """Add to each omission of an image how many annotations were lost with it."""
        for place, count in self._dependents.items():
            omission = self._omissions.found[place]
            with_it = f"{count} annotation{'s' * (count != 1)} of it went with it"
            self._omissions.found[place] = replace(omission, why=f"{omission.why}; {with_it}")

    def _add_image(self, number: int, file: AnnotationFile, index: int, entry: dict[str, Any], picture: str) -> None:
        known = self._images.own(number, entry["id"])
        if known is not None and known.file != picture:
            # It is unknown which of the two an annotation with this id refers to.
            self._images.remove(number, entry["id"])
            if known not in self._images.all_of(entry["id"]):
                del self.images[known.key]
            raise self._taken(file, index, entry)
        if self._omitted.own(number, entry["id"]) is not None:
            raise self._taken(file, index, entry)
        try:
            size = annotated_size(entry)
        except ValueError as error:
            raise file.error(str(error), "images", index) from None
        image = next((one for one in self._images.all_of(entry["id"]) if one.file == picture), None)
        if image is None:
            key, copies = picture, 1
            while key in self.images:
                copies += 1
                key = f"{picture} ({copies})"
            image = self.images[key] = CocoImage(key, picture, size, self._folder.header(picture))
        elif size is not None and image.size not in (None, size):
            raise file.error(f"`width` and `height` are {image.size} in another place", "images", index)
        image.size = image.size or size
        self._images.set(number, entry["id"], image)

    def _read_categories(self, number: int, file: AnnotationFile) -> None:
        for index, entry in enumerate(entries_of(file, "categories", needed=False)):
            with self._omissions.leaving_out():
                if not is_id(entry.get("id")) or not str(entry.get("name") or "").strip():
                    raise file.error("a category needs `id`, a number or text, and `name`", "categories", index)
                name = str(entry["name"]).strip().lower()
                if self._categories.own(number, entry["id"]) not in (None, name):
                    raise file.error(f"`id` {entry['id']!r} is that of another one as well", "categories", index, "id")
                self._categories.set(number, entry["id"], name)
                self.category_names.add(name)

    @staticmethod
    def _taken(file: AnnotationFile, index: int, entry: dict[str, Any]) -> EntryError:
        return file.error(f"`id` {entry['id']!r} is that of another image as well", "images", index, "id")


def entries_of(file: AnnotationFile, name: str, needed: bool = True) -> list[dict[str, Any]]:
    """A top-level list of a file. An entry that is not an object becomes an empty one, which is rejected."""
    if name not in file.value:
        if needed:
            raise file.error(f"a COCO-style file needs a list `{name}`")
        return []
    entries = file.value[name]
    if not isinstance(entries, list):
        raise file.error(f"`{name}` must be a list", name)
    return [entry if isinstance(entry, dict) else {} for entry in entries]
