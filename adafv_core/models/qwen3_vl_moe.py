"""Qwen3-VL with a mixture of experts (`Qwen3VLMoeForConditionalGeneration`)."""

from __future__ import annotations

from adafv_core.models.qwen3_vl import Qwen3VLAdapter


class Qwen3VLMoeAdapter(Qwen3VLAdapter):
    """Only the LLM differs from Qwen3-VL."""

    model_class = "Qwen3VLMoeForConditionalGeneration"
    model_type = "qwen3_vl_moe"
