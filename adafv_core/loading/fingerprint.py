"""A short key of a model's weights, the same for every copy of a checkpoint."""

from __future__ import annotations

import hashlib
from typing import Any

import torch


def weights_key(model: Any) -> str:
    """A hash of every parameter's name, shape and up to 256 of its values, evenly strided: cheap at any size.

    Values are first rounded to bfloat16, so that a checkpoint has the same key whatever dtype it is loaded in. A
    parameter that accelerate offloaded to disk contributes only its name and shape.
    """
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(value.shape)}".encode())
        if value.is_meta:
            continue
        flat = value.detach().reshape(-1)
        part = flat[:: max(1, flat.numel() // 256)][:256].to(torch.bfloat16).float().cpu()
        digest.update(part.numpy().tobytes())
    return digest.hexdigest()[:16]
