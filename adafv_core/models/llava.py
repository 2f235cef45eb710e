"""LLaVA-1.5: one square crop an image, no newline tokens (`LlavaForConditionalGeneration`)."""

from __future__ import annotations

from adafv_core.models.base import Adapter


class LlavaAdapter(Adapter):
    """Every image is resized and center-cropped (or padded) to one square, as `Adapter` has it."""

    model_class = "LlavaForConditionalGeneration"
    model_type = "llava"
