"""Draws scenes with Pillow and maps each patch of a grid to the thing it shows."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from adafv_core.pocket.world.scenes import Scene
from adafv_core.pocket.world.world import CANVAS_PX, CARD, COLORS, Thing

_DIGIT_ROWS = {
    "0": ("01110", "10001", "10011", "10101", "11001", "10001", "01110"),
    "1": ("00100", "01100", "00100", "00100", "00100", "00100", "01110"),
    "2": ("01110", "10001", "00001", "00110", "01000", "10000", "11111"),
    "3": ("11110", "00001", "00001", "01110", "00001", "00001", "11110"),
    "4": ("00010", "00110", "01010", "10010", "11111", "00010", "00010"),
    "5": ("11111", "10000", "11110", "00001", "00001", "10001", "01110"),
    "6": ("00110", "01000", "10000", "11110", "10001", "10001", "01110"),
    "7": ("11111", "00001", "00010", "00100", "01000", "01000", "01000"),
    "8": ("01110", "10001", "10001", "01110", "10001", "10001", "01110"),
    "9": ("01110", "10001", "10001", "01111", "00001", "00010", "01100"),
}
_INK = (24, 24, 28)


def draw_scene(scene: Scene) -> Image.Image:
    """Render a scene as an RGB image, 672 × 672 px: its things over a textured, noisy background."""
    image = _background(scene.seed)
    for thing in scene.things:
        mask = _shape_mask(thing)
        if thing.opacity < 1.0:
            mask = mask.point([round(value * thing.opacity) for value in range(256)])
        image.paste(COLORS[thing.color], thing.box[:2], mask)
        if thing.kind == CARD:
            _write_digit(image, thing)
    return image


def thing_mask(thing: Thing) -> Image.Image:
    """The thing's mask: an "L" image of the canvas size, 255 inside, 0 outside."""
    mask = Image.new("L", (CANVAS_PX, CANVAS_PX), 0)
    mask.paste(_shape_mask(thing), thing.box[:2])
    return mask


def _shape_mask(thing: Thing) -> Image.Image:
    width, height = thing.box[2] - thing.box[0], thing.box[3] - thing.box[1]
    mask = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(mask)
    whole = (0, 0, width - 1, height - 1)

    def at(*points: tuple[float, float]) -> list[tuple[float, float]]:
        return [(x * (width - 1), y * (height - 1)) for x, y in points]

    match thing.kind:
        case "circle":
            draw.ellipse(whole, fill=255)
        case "square" | "card":
            draw.rectangle(whole, fill=255)
        case "triangle":
            draw.polygon(at((0.5, 0.0), (1.0, 1.0), (0.0, 1.0)), fill=255)
        case "star":
            draw.polygon(at(*_star_points()), fill=255)
        case "ring":
            draw.ellipse(whole, fill=255)
            inset = width * 0.27
            draw.ellipse((inset, inset, width - 1 - inset, height - 1 - inset), fill=0)
        case "cross":
            draw.rectangle(at((0.33, 0.0), (0.67, 1.0)), fill=255)
            draw.rectangle(at((0.0, 0.33), (1.0, 0.67)), fill=255)
        case "diamond":
            draw.polygon(at((0.5, 0.0), (1.0, 0.5), (0.5, 1.0), (0.0, 0.5)), fill=255)
        case "heart":
            draw.polygon(at(*_heart_points()), fill=255)
        case _:
            raise ValueError(f"cannot draw a thing of kind {thing.kind!r}")
    return mask


def patch_owners(scene: Scene, grid: int, inside: float = 0.3, outside: float = 0.06) -> NDArray[np.int8]:
    """Assign each patch of a grid × grid split of the image to the thing it shows.

    Returns (grid, grid) int8: the index of the thing that covers at least the fraction `inside` of the patch, -1 for
    background (no thing covers more than `outside`), -2 for patches in between.
    """
    owners = np.full((grid, grid), -1, dtype=np.int8)
    side = CANVAS_PX // grid
    for index, thing in enumerate(scene.things):
        mask = np.asarray(thing_mask(thing), dtype=np.float32) / 255.0
        covered = mask[: side * grid, : side * grid].reshape(grid, side, grid, side).mean((1, 3))
        owners[(covered > outside) & (owners == -1)] = -2
        owners[covered >= inside] = index
    return owners


def _background(seed: int) -> Image.Image:
    rng = np.random.Generator(np.random.PCG64(seed))
    base = rng.integers(70, 150) + rng.integers(-18, 19, 3)
    image = np.empty((CANVAS_PX, CANVAS_PX, 3), np.int16)
    coarse = rng.integers(0, 256, (int(rng.integers(4, 12)),) * 2, dtype=np.uint8)
    soft = np.asarray(Image.fromarray(coarse).resize((CANVAS_PX, CANVAS_PX), Image.Resampling.BICUBIC), np.int16)
    grain = rng.integers(-14, 15, (CANVAS_PX // 4, CANVAS_PX // 4), dtype=np.int16).repeat(4, 0).repeat(4, 1)
    image[:] = base
    image += ((soft - 128) // 5 + grain)[:, :, None]
    stripes = rng.integers(3)
    if stripes:
        wave = ((np.arange(CANVAS_PX) * int(rng.integers(2, 9)) // 48) % 2 * 9).astype(np.int16)
        image += (wave[None, :] if stripes == 1 else wave[:, None])[:, :, None]
    return Image.fromarray(image.clip(0, 255).astype(np.uint8), "RGB")


def _write_digit(image: Image.Image, card: Thing) -> None:
    draw = ImageDraw.Draw(image)
    left, top, right, bottom = card.box
    cell = (bottom - top) // 9
    x0, y0 = (left + right - 5 * cell) // 2, (top + bottom - 7 * cell) // 2
    for row, bits in enumerate(_DIGIT_ROWS[card.digit]):
        for column, bit in enumerate(bits):
            if bit == "1":
                x, y = x0 + column * cell, y0 + row * cell
                draw.rectangle((x, y, x + cell - 1, y + cell - 1), fill=_INK)


def _star_points() -> list[tuple[float, float]]:
    points = []
    for step in range(10):
        angle, radius = math.pi * step / 5, 0.53 if step % 2 == 0 else 0.23
        points.append((0.5 + radius * math.sin(angle), 0.53 - radius * math.cos(angle)))
    return points


def _heart_points() -> list[tuple[float, float]]:
    points = []
    for step in range(40):
        angle = 2 * math.pi * step / 40
        x = 16 * math.sin(angle) ** 3
        y = 13 * math.cos(angle) - 5 * math.cos(2 * angle) - 2 * math.cos(3 * angle) - math.cos(4 * angle)
        points.append((0.5 + x / 34, 0.46 - y / 30))
    return points
