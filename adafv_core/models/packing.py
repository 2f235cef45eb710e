"""From what one encoder call showed to VisualTokens: scores take the same way as the features.

A family's packing of crops is run on the features by stock code, and here once more on everything that is scored, so
that the two never get out of step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from adafv_core.types import TokenGrid, VisualTokens

Pack = Callable[[Tensor, Tensor | None], Tensor]
"""`Adapter.pack` for one image of a call: (crops, P, ch), newline (ch,) or None -> (M, ch) or (N, ch)."""


def visual_tokens(
    stock: Tensor,
    planes: Mapping[str, Tensor],
    pack: Pack,
    grid: Callable[[int], TokenGrid],
    device: torch.device,
    *,
    image_key: str,
    saliency_source: str,
    layer_features: Tensor | None,
) -> VisualTokens:
    """The visual tokens of one image.

    stock: (M, D) what stock transformers would put in place of the image tokens, in the dtype of the LLM's embeddings.
    planes: of `Adapter.planes`. grid: from N to where the tokens lie. device: where all of it goes.
    """
    cls_attention = planes["saliency"]
    numbers = torch.arange(cls_attention.shape[0], dtype=torch.float32, device=cls_attention.device)
    per_crop = {
        "saliency": cls_attention[..., None],
        "encoder crop": numbers[:, None, None].expand(*cls_attention.shape, 1).contiguous(),
        "vision": planes["vision"],
        "keys": planes["keys"],
    }
    packed = {name: pack(plane, None).to(device) for name, plane in per_crop.items()}
    saliency = packed["saliency"][:, 0]
    # Packing zeros, with ones for newlines, marks where the newline tokens stand.
    marks = pack(torch.zeros_like(cls_attention)[..., None], torch.ones(1, device=cls_attention.device))[:, 0]
    is_newline = (marks > 0.5).to(device)
    stock = stock.to(device)
    newline_after = newline = None
    features = stock
    if stock.shape[0] != saliency.shape[0]:
        places = is_newline.nonzero()[:, 0]
        newline_after = places - 1 - torch.arange(places.numel(), device=places.device)
        newline, features = stock[places[0]].clone(), stock[~is_newline]  # the whole is not kept beside them
    return VisualTokens(
        features=features,
        saliency=saliency.float(),
        grid=grid(saliency.shape[0]),
        cls_attention=cls_attention.to(device),
        vision_features=packed["vision"],
        vision_keys=packed["keys"],
        newline_after=newline_after,
        newline=newline,
        image_key=image_key,
        encoder_crop=packed["encoder crop"][:, 0].round().long(),
        saliency_source=saliency_source,
        layer_features=None if layer_features is None else layer_features.to(device, stock.dtype),
    )
