"""A pool of drawn training scenes on disk, in chunks, so that each scene is drawn only once across epochs and runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from adafv_core.pocket.world.drawing import draw_scene, patch_owners
from adafv_core.pocket.world.scenes import make_scene
from adafv_core.pocket.world.world import seed_in

CHUNK = 1000


def shrink(image: Image.Image, image_px: int) -> NDArray[np.uint8]:
    """Resize an image as the image processor does: (image_px, image_px, 3) uint8, bicubic."""
    return np.asarray(image.resize((image_px, image_px), Image.Resampling.BICUBIC), dtype=np.uint8)


def draw_chunk(folder: Path, split: str, chunk: int, image_px: int, grid: int) -> tuple[Path, Path]:
    """Draw one chunk of scenes unless its files exist already; returns the image file and the owner file.

    Images: (CHUNK, image_px, image_px, 3) uint8. Owners: (CHUNK, grid, grid) int8, see `patch_owners`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images_file = folder / f"{split}-{image_px}-images-{chunk:04d}.npy"
    owners_file = folder / f"{split}-{image_px}-owners-{chunk:04d}.npy"
    if not (images_file.exists() and owners_file.exists()):
        images = np.empty((CHUNK, image_px, image_px, 3), np.uint8)
        owners = np.empty((CHUNK, grid, grid), np.int8)
        for row in range(CHUNK):
            scene = make_scene(seed_in(split, chunk * CHUNK + row))
            images[row] = shrink(draw_scene(scene), image_px)
            owners[row] = patch_owners(scene, grid)
        np.save(owners_file, owners)
        partial = images_file.with_suffix(".partial.npy")
        np.save(partial, images)
        partial.replace(images_file)
    return images_file, owners_file


class Pool:
    """Scenes 0..size-1 of a split, drawn on first use and cached on disk."""

    def __init__(self, folder: Path, split: str, size: int, image_px: int, grid: int) -> None:
        self.split, self.size = split, size
        self._folder = folder
        self._shape = (image_px, grid)
        self._chunks: dict[int, tuple[NDArray[np.uint8], NDArray[np.int8]]] = {}

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
        """Image (image_px, image_px, 3) uint8 and owners (grid, grid) int8 of the scene at `index`."""
        number, row = divmod(index, CHUNK)
        if number not in self._chunks:
            images_file, owners_file = draw_chunk(self._folder, self.split, number, *self._shape)
            self._chunks[number] = (np.load(images_file, mmap_mode="r"), np.load(owners_file))
        images, owners = self._chunks[number]
        return images[row], owners[row]
