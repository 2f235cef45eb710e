"""The bundled data set, the user's own, and what is said about wrong files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.study_sample import BOXES, coco, write_pictures
from PIL import Image

from adafv_core.errors import ImageError, InputError
from adafv_core.pocket.world.world import SPLIT_SIZE, SPLITS
from adafv_core.study.data.annotation_file import json_path
from adafv_core.study.data.base import images_of
from adafv_core.study.data.coco import CocoSet
from adafv_core.study.data.coco_shapes import Mask, shape_of, unpacked
from adafv_core.study.data.image_folder import Header
from adafv_core.study.data.pocket import STUDY_SCENES, PocketSet
from adafv_core.study.data.user import open_user_set
from adafv_core.study.data.vqa import VqaSet


def save(file: Path, value: Any) -> Path:
    file.write_text(value if isinstance(value, str) else json.dumps(value, indent=1), encoding="utf-8")
    return file


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures")


def test_the_study_is_large_enough_and_on_scenes_of_its_own() -> None:
    data = PocketSet()
    assert len(data.items) >= 1000 and len(images_of(data.items)) == STUDY_SCENES >= 250
    assert all(0 <= int(item.image) - SPLITS["study"] < SPLIT_SIZE for item in data.items)
    families = {item.family for item in data.items}
    assert families == {"attribute", "existence", "location", "reading", "counting", "relation", "salient"}
    assert {item.group for item in data.items} == {"", "existence yes", "existence no"}
    assert data.fingerprint() == PocketSet().fingerprint() != PocketSet("validation").fingerprint()
    assert len({item.key for item in data.items}) == len(data.items)


def test_a_relation_names_one_object_and_needs_two() -> None:
    item = next(item for item in PocketSet("validation", 20).items if item.family == "relation")
    assert len(item.named) == 1 and len(item.needed) == 2 and set(item.named) < set(item.needed)


def test_masks_of_a_scene_cover_its_things() -> None:
    data = PocketSet("validation", 1)
    image = data.items[0].image
    thing = data.scenes[image].things[0]
    mask = data.object_mask(image, 0)
    left, top, right, bottom = thing.box
    assert mask.shape == (672, 672) and mask[top:bottom, left:right].sum() == mask.sum() > 0


def test_coco_questions_captions_and_objects(pictures: Path, tmp_path: Path) -> None:
    data = open_user_set(pictures, [save(tmp_path / "notes.json", coco())])
    assert isinstance(data, CocoSet) and data.has_objects
    by_family = {item.family: item for item in data.items}
    assert by_family["attribute"].answers == ("red",) and by_family["attribute"].named == (1,)
    assert by_family["caption"].answers == () and by_family["caption"].named == (1, 2)
    assert by_family["counting"].named == (3,), "objects given by id"
    assert data.object_ids("one.png") == (1, 2)
    x, y, width, height = BOXES[1]
    mask = data.object_mask("one.png", 1)
    assert mask.shape == (96, 128) and mask.sum() == width * height and mask[y, x] == 1
    assert data.picture("two.png").size == (128, 96)


def test_objects_and_questions_may_come_in_two_files(pictures: Path, tmp_path: Path) -> None:
    whole = coco()
    texts = [one for one in whole["annotations"] if "bbox" not in one and "segmentation" not in one]
    objects = [one for one in whole["annotations"] if one not in texts]
    files = [
        save(tmp_path / "objects.json", {**whole, "annotations": objects}),
        save(tmp_path / "texts.json", {"images": whole["images"], "annotations": texts}),
    ]
    data = open_user_set(pictures, files)
    assert len(data.items) == 3 and data.object_ids("two.png") == (3,)


def test_objects_alone_make_questions_of_existence(pictures: Path, tmp_path: Path) -> None:
    whole = coco()
    whole["annotations"] = [one for one in whole["annotations"] if "category_id" in one]
    file = save(tmp_path / "objects.json", whole)
    data = open_user_set(pictures, [file])
    first = [(item.question, item.answers, item.named) for item in data.items if item.image == "one.png"]
    assert sorted(first) == [
        ("Is there a ball in the image?", ("yes",), (1,)),
        ("Is there a box in the image?", ("yes",), (2,)),
        ("Is there an owl in the image?", ("no",), ()),
    ]
    assert data.fingerprint() == open_user_set(pictures, [file]).fingerprint()


def test_masks_as_polygon_runs_and_packed_runs_agree() -> None:
    """A 3 × 2 block at (1, 1) of a 6 × 4 picture; runs go down the columns: 5 out, then 2 in, 2 out, three times."""

    def object_mask(annotation: dict[str, Any]) -> Mask:
        return shape_of(annotation, (6, 4), Header((6, 4), 1)).mask()

    box = object_mask({"bbox": [1, 1, 3, 2]})
    polygon = object_mask({"segmentation": [[1, 1, 4, 1, 4, 3, 1, 3]]})
    runs = [5, 2, 2, 2, 2, 2, 9]
    plain = object_mask({"segmentation": {"size": [4, 6], "counts": runs}})
    assert np.array_equal(box, plain) and np.array_equal(box, polygon)
    packed = "".join(chr(48 + step) for step in (5, 2, 2, 0, 0, 0, 7))
    assert unpacked(packed) == runs
    assert np.array_equal(object_mask({"segmentation": {"size": [4, 6], "counts": packed}}), plain)
    assert unpacked(chr(48 + (100 & 31 | 32)) + chr(48 + (100 >> 5))) == [100]


def test_vqa_list_and_vqa_layout(pictures: Path, tmp_path: Path) -> None:
    listed = [{"image": "one.png", "question": "What color is the ball?", "answer": "red", "family": "color"}]
    data = open_user_set(pictures, [save(tmp_path / "list.json", listed)])
    assert isinstance(data, VqaSet) and not data.has_objects and data.items[0].family == "color"
    (pictures / "COCO_val_000000000007.png").write_bytes((pictures / "one.png").read_bytes())
    asked = {"questions": [{"question_id": 70, "image_id": 7, "question": "Is it red?"}]}
    known = {"annotations": [{"question_id": 70, "answers": [{"answer": "yes"}] * 10}]}
    files = [save(tmp_path / "q.json", asked), save(tmp_path / "a.json", known)]
    item = open_user_set(pictures, files).items[0]
    assert item.image == "COCO_val_000000000007.png" and item.answers == ("yes",) * 10


def broken(**changes: Any) -> dict[str, Any]:
    value = coco()
    for place, change in changes.items():
        name, _, number = place.rpartition("_")
        value[name][int(number)] |= change
    return value


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ('{\n "images": [,]\n}', r"notes.json, line 2: not JSON"),
        (broken(images_1={"file_name": "gone.png"}), r"notes.json, images\[1\].file_name: the picture 'gone.png' is"),
        (broken(annotations_0={"bbox": [0, 0, -5, 5]}), r"notes.json, annotations\[0\].bbox: `bbox` must be "),
        (broken(annotations_0={"image_id": 77}), r"annotations\[0\].image_id: `image_id` 77 is not one of"),
        (
            broken(annotations_1={"category_id": 9}),
            r"annotations\[1\].category_id: `category_id` 9 is not one of the cat",
        ),
        (broken(annotations_1={"id": 1}), r"annotations\[1\].id: an object needs an `id` of its own"),
        (
            broken(annotations_3={"answers": []}),
            r"annotations\[3\].answers: `answers` must be a list with at least one",
        ),
        (broken(annotations_3={"answers": ["red", []]}), r"annotations\[3\].answers\[1\]: an answer must be text"),
        (broken(annotations_5={"objects": [1]}), r"annotations\[5\].objects: `objects` must be a list of ids of obje"),
        ({"images": [{"id": 1, "file_name": "one.png"}]}, r"notes.json: a COCO-style file needs a list `annotations`"),
        ({"annotations": 3, "images": []}, r"notes.json, annotations: `annotations` must be a list"),
        ({"something": 1}, r"notes.json: expected `images` \(COCO style\) or `questions` \(VQA style\)"),
        ("3", r"notes.json: expected an object or a list"),
        ([{"image": "one.png", "question": "Red?"}], r"notes.json, \[0\]: a question needs `answer` or `answers`"),
        ([{"image": "one.png", "question": 3, "answer": "x"}], r"\[0\]: a question needs `question`, as text"),
        ([{"image": "gone.png", "question": "Red?", "answer": "x"}], r"\[0\].image: the picture 'gone.png' is not in"),
        ([], r"notes: no questions"),
        (broken(images_0={"id": [1]}), r"images\[0\]: an image needs `id`, a number or text"),
        (broken(images_0={"width": "wide", "height": 3}), r"images\[0\]: `width` and `height` must be whole numbers"),
        (broken(annotations_0={"image_id": {}}), r"annotations\[0\].image_id: `image_id` {} is not one of the images"),
        (broken(annotations_5={"objects": [[1]]}), r"annotations\[5\].objects: `objects` must be a list of ids"),
        (broken(categories_0={"name": " "}), r"categories\[0\]: a category needs `id`, a number or text, and `name`"),
        (broken(annotations_0={"bbox": [0, 0, float("inf"), 5]}), r"annotations\[0\].bbox: `bbox` must be "),
        ([{"question_id": [1], "image": "one.png", "question": "Red?"}], r"\[0\].question_id: `question_id` must be a"),
        ({"questions": [], "annotations": [{"question_id": {}}]}, r"annotations\[0\]: an answer needs `question_id`"),
    ],
)
def test_strict_reading_names_the_place_of_what_is_wrong(value: Any, says: str, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says):
        open_user_set(pictures, [save(tmp_path / "notes.json", value)], strict=True)


def test_the_path_leads_to_the_value(pictures: Path, tmp_path: Path) -> None:
    assert json_path("annotations", 3, "bbox") == "annotations[3].bbox"
    assert json_path(0, "a b", 1) == '[0]["a b"][1]'
    data = open_user_set(pictures, [save(tmp_path / "notes.json", broken(annotations_1={"category_id": 9}))])
    assert [one.where for one in data.omissions] == ["notes.json, annotations[1].category_id"]


def test_wrong_folders_and_pictures(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder 'nowhere'"):
        open_user_set(tmp_path / "nowhere", [tmp_path / "notes.json"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no pictures"):
        open_user_set(tmp_path / "empty", [tmp_path / "notes.json"])
    with pytest.raises(InputError, match=r"notes.json cannot be read"):
        open_user_set(pictures, [tmp_path / "notes.json"])
    data = open_user_set(pictures, [save(tmp_path / "notes.json", coco())])
    for content in (b"not a picture", b"", None):  # None: the file is gone
        (pictures / "one.png").unlink()
        if content is not None:
            (pictures / "one.png").write_bytes(content)
        with pytest.raises(ImageError, match=r"one.png cannot be read") as caught:
            data.picture("one.png")
        assert str(pictures) not in str(caught.value)  # it goes into the summary, which people publish
    Image.new("RGB", (4, 4)).save(pictures / "one.png")
    assert data.picture("one.png").size == (4, 4)
