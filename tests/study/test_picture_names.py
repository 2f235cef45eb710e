"""The picture that an entry names is the one it gets, or the entry is refused."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from adafv_core.study.data.image_folder import ImageFolder
from adafv_core.study.data.user import open_user_set

PARTS = st.sampled_from(["a", "b", "1", "01", "12", "x_1", "é", unicodedata.normalize("NFD", "é")])
PATHS = st.lists(PARTS, min_size=1, max_size=3).map(lambda parts: "/".join(parts) + ".jpg")
FOLDERS = st.lists(PATHS, min_size=1, max_size=8, unique=True)


def folder_with(paths: list[str]) -> ImageFolder:
    return ImageFolder((path, Path(path)) for path in paths)


@given(FOLDERS)
def test_a_full_path_is_that_picture(paths: list[str]) -> None:
    found = folder_with(paths).resolve(paths)
    assert found.files == {path: path for path in paths} and not found.problems


@given(FOLDERS, st.lists(PATHS, min_size=1, max_size=6, unique=True))
def test_a_name_is_the_only_picture_it_fits_and_no_two_names_share_one(paths: list[str], names: list[str]) -> None:
    found = folder_with(paths).resolve(names)
    assert found.files.keys() | found.problems.keys() == set(names) and not found.files.keys() & found.problems.keys()
    for name, key in found.files.items():
        wanted, got = (PurePosixPath(unicodedata.normalize("NFC", one)).parts for one in (name, key))
        shorter = min(len(wanted), len(got))
        assert wanted[-shorter:] == got[-shorter:], "one path ends in the other"
        if name in paths:
            assert key == name
        elif len(wanted) < len(got):
            others = [PurePosixPath(unicodedata.normalize("NFC", one)).parts for one in paths]
            assert sum(one[-len(wanted) :] == wanted for one in others) == 1
    by_key: dict[str, set[str]] = {}
    for name, key in found.files.items():
        by_key.setdefault(key, set()).add(unicodedata.normalize("NFC", name))
    assert all(len(names_of_one) == 1 for names_of_one in by_key.values())


@given(FOLDERS, st.integers(0, 20))
def test_a_number_is_the_only_picture_whose_name_ends_in_it(paths: list[str], number: int) -> None:
    found = folder_with(paths).resolve([str(number)])
    fitting = [path for path in paths if path[:-4].split("_")[-1].split("/")[-1].isdigit()]
    fitting = [path for path in fitting if int(path[:-4].split("_")[-1].split("/")[-1]) == number]
    assert found.files == ({str(number): fitting[0]} if len(fitting) == 1 else {})
    assert bool(found.problems) == (len(fitting) != 1)


@pytest.mark.parametrize(
    "name", ["red/1.png", "./red/1.png", "red\\1.png", "/red/1.png", "data/red/1.png", "C:\\d\\red\\1.png"]
)
def test_spellings_of_one_path(name: str) -> None:
    found = folder_with(["red/1.png", "blue/1.png"]).resolve([name])
    assert found.files == {name: "red/1.png"}


@pytest.mark.parametrize(
    ("paths", "names", "says"),
    [
        (["red/1.png", "blue/1.png"], ["1.png"], "'1.png' could be 'red/1.png' or 'blue/1.png'; give its path"),
        (["12.jpg", "COCO_val2014_000000000012.jpg"], ["12"], "'12' could be '12.jpg' or 'COCO_val2014_000000000012"),
        (["1.png"], ["train/1.png", "val/1.png"], "'train/1.png' and 'val/1.png' would both be the picture '1.png'"),
        (["1.png"], ["1.png", "val/1.png"], "'val/1.png' and '1.png' would both be the picture '1.png'"),
        (["red/1.png"], ["blue/1.png"], "the picture 'blue/1.png' is not in the folder"),
        (["1.png", "1.png"], ["1.png"], "'1.png' could be '1.png' or '1.png (2)'"),
        (["1.png"], ["²"], "the picture '²' is not in the folder"),
        (["1.png"], [""], "the picture '' is not in the folder"),
    ],
)
def test_ambiguous_names_are_refused_in_one_sentence(paths: list[str], names: list[str], says: str) -> None:
    problems = folder_with(paths).resolve(names).problems
    assert any(problem.startswith(says) for problem in problems.values())


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for name in ("red", "blue"):
        (tmp_path / "img" / name).mkdir(parents=True)
        Image.new("RGB", (100, 60), name).save(tmp_path / "img" / name / "1.png")
    return tmp_path / "img"


def write(folder: Path, value: Any) -> Path:
    (folder / "notes.json").write_text(json.dumps(value))
    return folder / "notes.json"


def test_questions_are_asked_about_the_picture_they_name(pictures: Path, tmp_path: Path) -> None:
    listed = [{"image": f"{name}/1.png", "question": "What color?", "answer": name} for name in ("red", "blue")]
    data = open_user_set(pictures, [write(tmp_path, [*listed, {"image_id": 1, "question": "Which?", "answer": "x"}])])
    colors = {item.answers[0]: data.picture(item.image).getpixel((0, 0)) for item in data.items}
    assert colors == {"red": (255, 0, 0), "blue": (0, 0, 255)}
    assert [one.where for one in data.omissions] == ["notes.json, [2].image_id"]


def coco(images: list[dict[str, Any]], labels: dict[int, int]) -> dict[str, Any]:
    """labels: category of the one object of each image id."""
    return {
        "images": images,
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}],
        "annotations": [
            {"id": image, "image_id": image, "category_id": category, "bbox": [5 * image, 5, 20, 20]}
            for image, category in labels.items()
        ],
    }


@pytest.mark.parametrize("names", [("red/1.png", "blue/1.png"), ("red/1.png", "red/1.png")])
def test_coco_images_never_merge(names: tuple[str, str], pictures: Path, tmp_path: Path) -> None:
    images = [{"id": number, "file_name": name} for number, name in enumerate(names, 1)]
    data = open_user_set(pictures, [write(tmp_path, coco(images, {1: 1, 2: 2}))])
    keys = list(dict.fromkeys(item.image for item in data.items))
    assert len(keys) == 2 and [data.object_ids(key) for key in keys] == [(1,), (2,)]
    answers = {(item.image, item.question): item.answers[0] for item in data.items}
    assert answers[keys[0], "Is there a dog in the image?"] == "yes"
    assert answers[keys[0], "Is there a cat in the image?"] == "no"
    assert answers[keys[1], "Is there a cat in the image?"] == "yes"


def test_an_id_of_two_images_is_refused_with_its_annotations(pictures: Path, tmp_path: Path) -> None:
    images = [
        {"id": 1, "file_name": "red/1.png"},
        {"id": 1, "file_name": "blue/1.png"},
        {"id": 2, "file_name": "1.png"},
    ]
    (pictures / "1.png").write_bytes((pictures / "red" / "1.png").read_bytes())
    data = open_user_set(pictures, [write(tmp_path, coco(images, {1: 1, 2: 2}))])
    assert {item.image for item in data.items} == {"1.png"}
    (omission,) = data.omissions
    assert omission.where == "notes.json, images[1].id" and omission.why.endswith("1 annotation of it went with it")


def test_two_files_may_use_one_id_for_different_images(pictures: Path, tmp_path: Path) -> None:
    files = []
    for name, category in (("red", "dog"), ("blue", "cat")):
        value = coco([{"id": 1, "file_name": f"{name}/1.png"}], {1: 1}) | {"categories": [{"id": 1, "name": category}]}
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(json.dumps(value))
    data = open_user_set(pictures, files)
    yes = {(item.image, item.question) for item in data.items if item.answers == ("yes",)}
    assert yes == {("red/1.png", "Is there a dog in the image?"), ("blue/1.png", "Is there a cat in the image?")}


def test_answers_of_two_files_with_one_question_id_stay_apart(pictures: Path, tmp_path: Path) -> None:
    files = []
    for name in ("red", "blue"):
        value = {
            "questions": [{"question_id": 1, "image": f"{name}/1.png", "question": "What color?"}],
            "annotations": [{"question_id": 1, "answers": [{"answer": name}]}],
        }
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(json.dumps(value))
    assert {item.image: item.answers for item in open_user_set(pictures, files).items} == {
        "red/1.png": ("red",),
        "blue/1.png": ("blue",),
    }
