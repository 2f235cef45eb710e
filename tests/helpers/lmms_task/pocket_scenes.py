"""A small task for lmms-eval over the bundled scenes, whose parquet file the test writes."""

from __future__ import annotations

from typing import Any


def visual(doc: dict[str, Any]) -> list[Any]:
    return [doc["image"].convert("RGB")]


def text(doc: dict[str, Any], lmms_eval_specific_kwargs: Any = None) -> str:
    return str(doc["question"])


def results(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    return {"right": float(results[0].strip().lower() == doc["answer"])}
