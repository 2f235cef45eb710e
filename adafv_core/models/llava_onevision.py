"""LLaVA-OneVision: SigLIP, tiles shrunk to the area of N crops (`LlavaOnevisionForConditionalGeneration`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import LlavaOnevisionProcessor

from adafv_core.models.base import PixelInputs
from adafv_core.models.llava_next import LlavaNextAdapter
from adafv_core.models.processors import stills

StillsProcessor = stills(LlavaOnevisionProcessor)


class LlavaOnevisionAdapter(LlavaNextAdapter):
    """Any-resolution as in LLaVA-NeXT; above `anyres_max_N` crops the stitched grid is shrunk bilinearly.

    Several images in one prompt are a single crop each, with one newline at the end, as in stock transformers.
    """

    model_class = "LlavaOnevisionForConditionalGeneration"
    model_type = "llava_onevision"
    processor_class = StillsProcessor
    TILED_ALONE = True

    def pixels(self, pictures: Sequence[Any], together: bool = False) -> PixelInputs:
        return super().pixels([list(pictures)] if together else pictures)

    def crop_counts(self, pixels: PixelInputs) -> list[int]:
        together = pixels.get("batch_num_images")
        if together is None:
            return super().crop_counts(pixels)
        alone = [int(count) == 1 for count in together for _ in range(int(count))]
        return [self._crops(pixels, image) if tiled else 1 for image, tiled in enumerate(alone)]

    def _pack_options(self) -> dict[str, object]:
        return {"vision_aspect_ratio": self.config.vision_aspect_ratio}
