"""Engines over tiny random models, made once a session, and what the tests of models ask them."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from helpers.tiny_models import FAMILIES, picture, save_tiny
from PIL import Image

from adafv_core.engine import Engine, load
from adafv_core.models.base import Adapter

SHAPES = {"square": (56, 56), "wide": (300, 40), "tall": (60, 200), "landscape": (80, 60), "tiny": (5, 9)}
QUESTIONS = (
    "What color is the ring?",
    "Is there a green triangle in the picture?",
    "Read the number on the card.",
    "How many?",
    "What is left of the small square?",
)
ANYRES = [family for family in FAMILIES if family != "llava" and family != "llava_siglip"]


@cache
def folder_of(family: str) -> Path:
    """A saved tiny model."""
    return save_tiny(family, Path(tempfile.mkdtemp(prefix=f"tiny-{family}-")))


@cache
def engine_of(family: str) -> Engine:
    """An engine over it, loaded from its files."""
    return load(folder_of(family), device="cpu")


def pictures() -> list[Image.Image]:
    """One picture of every shape."""
    return [picture(width, height, seed) for seed, (width, height) in enumerate(SHAPES.values())]


def stock_inputs(engine: Engine, images: list[Image.Image], questions: list[str]) -> Any:
    """What a user of stock transformers would pass to `generate`: a left-padded batch."""
    texts = [engine.prompter.render(question) for question in questions]
    nested = [[image] for image in images] if "Onevision" in type(engine.model).__name__ else images
    return engine.processor(images=nested, text=texts, return_tensors="pt", padding=True)


def until_end(engine: Engine, ids: list[int]) -> tuple[int, ...]:
    """New tokens of one row, up to and with the end token."""
    end = engine.model.generation_config.eos_token_id
    return tuple(ids[: ids.index(end) + 1] if end in ids else ids)


def image_arguments(adapter: Adapter, pixels: Any) -> dict[str, Any]:
    """The arguments of the stock `get_image_features` call among pixel inputs."""
    return {name: pixels[name] for name in adapter.PIXEL_NAMES if pixels.get(name) is not None}
