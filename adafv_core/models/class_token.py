"""Whether a vision encoder has a [CLS] token, and whether a model's config treats it as such."""

from __future__ import annotations

from typing import Any

from adafv_core.errors import UnsupportedModelError


def has_class_token(tower: Any) -> bool:
    """Whether the encoder has a class token: CLIP calls it class_embedding, InternVL cls_token."""
    embeddings = getattr(getattr(tower, "vision_model", tower), "embeddings", None)
    return any(getattr(embeddings, name, None) is not None for name in ("class_embedding", "cls_token"))


def check_strategy(config: Any, has_cls: bool) -> None:
    """Raise UnsupportedModelError where [CLS] would be passed on as a patch, or a patch dropped as a [CLS]."""
    strategy = getattr(config, "vision_feature_select_strategy", None)
    expected = "default" if has_cls else "full"
    if strategy is not None and strategy != expected:
        wrong = (
            "has a [CLS] token, which {} passes on as if it were a patch"
            if has_cls
            else "has no [CLS] token, and {} drops its first patch as if it were one"
        ).format(f"vision_feature_select_strategy={strategy!r}")
        raise UnsupportedModelError(f"This vision tower {wrong}; expected {expected!r}.")
