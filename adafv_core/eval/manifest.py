"""What lmms-eval reads through the entry point `lmms_eval.models`: `--model adafv` is `PrunedModel`."""

from __future__ import annotations

from lmms_eval.models.registry_v2 import ModelManifest

ADAFV = ModelManifest("adafv", simple_class_path="adafv_core.eval.lmms_model.PrunedModel")
