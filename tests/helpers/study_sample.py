"""A user's data set of two pictures: what the tests of the study ask about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

BOXES = {1: (10, 12, 30, 30), 2: (70, 40, 40, 40), 3: (30, 20, 60, 50)}


def write_pictures(folder: Path) -> Path:
    """one.png: a red ball and a blue box. two.png: a green owl."""
    folder.mkdir(parents=True)
    for name, things in (("one.png", ((1, "red"), (2, "blue"))), ("two.png", ((3, "green"),))):
        picture = Image.new("RGB", (128, 96), "gray")
        draw = ImageDraw.Draw(picture)
        for number, color in things:
            x, y, width, height = BOXES[number]
            draw.rectangle((x, y, x + width - 1, y + height - 1), fill=color)
        picture.save(folder / name)
    return folder


def coco() -> dict[str, Any]:
    """Objects as boxes and as a polygon, a caption and two questions."""
    x, y, width, height = BOXES[3]
    polygon = [x, y, x + width - 1, y, x + width - 1, y + height - 1, x, y + height - 1]
    return {
        "images": [{"id": 10, "file_name": "one.png"}, {"id": 20, "file_name": "two.png"}],
        "categories": [{"id": 1, "name": "ball"}, {"id": 2, "name": "box"}, {"id": 3, "name": "Owl"}],
        "annotations": [
            {"id": 1, "image_id": 10, "category_id": 1, "bbox": list(BOXES[1])},
            {"id": 2, "image_id": 10, "category_id": 2, "bbox": list(BOXES[2])},
            {"id": 3, "image_id": 20, "category_id": 3, "segmentation": [polygon]},
            {
                "id": 4,
                "image_id": 10,
                "question": "What color is the ball?",
                "answers": ["red"],
                "family": "attribute",
            },
            {"id": 5, "image_id": 10, "caption": "A ball beside a box."},
            {
                "id": 6,
                "image_id": 20,
                "question": "How many birds are there?",
                "answer": "1",
                "objects": [3],
                "family": "counting",
            },
        ],
    }
