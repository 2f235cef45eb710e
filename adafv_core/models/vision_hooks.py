"""Watch one stock call of the vision encoder, and take from it what scoring needs.

Forward hooks on the query and key projections of the feature layer, and on the projector, are set for the
length of one `get_image_features` call. Attention itself stays whatever the model uses (SDPA,
FlashAttention): the one needed row is computed beside it from the same queries and keys, so nothing asks
for `output_attentions` and the encoder runs once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from adafv_core.errors import UnsupportedModelError
from adafv_core.scoring import cls_saliency, received_saliency


@dataclass
class VisionRecord:
    """What the hooks saw, over all crops of all images of one call, in the encoder's order.

    queries, keys: (crops, heads, P', d) of the feature layer, [CLS] included where the encoder has one.
    vision_features: (crops, P, Dv) what entered the projector. projected: (crops, P, D) what left it.
    """

    queries: Tensor | None = None
    keys: Tensor | None = None
    vision_features: Tensor | None = None
    projected: Tensor | None = None

    def saliency(self, has_cls: bool) -> Tensor:
        """(crops, P) float32, c_i of section 2: the [CLS] row, or the mean attention received without a
        [CLS].
        """
        assert self.queries is not None and self.keys is not None
        if has_cls:
            return cls_saliency(self.queries[:, :, 0], self.keys)
        return received_saliency(self.queries, self.keys)

    def mean_keys(self, has_cls: bool) -> Tensor:
        """(crops, P, d) head-averaged keys of the feature layer, [CLS] left out."""
        assert self.keys is not None
        return self.keys[:, :, 1:].mean(1) if has_cls else self.keys.mean(1)


def feature_layer(tower: nn.Module, vision_feature_layer: int | list[int]) -> nn.Module:
    """The encoder layer whose output is the feature layer (for several feature layers: the last one named).

    `hidden_states[0]` is the embedding, so `hidden_states[k]` leaves layer k - 1: with
    `vision_feature_layer = -2` the layer of `attentions[-2]`. Raises UnsupportedModelError where there is
    no such layer.
    """
    wanted = vision_feature_layer if isinstance(vision_feature_layer, int) else vision_feature_layer[-1]
    encoder = getattr(getattr(tower, "vision_model", tower), "encoder", None)
    layers = getattr(encoder, "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise UnsupportedModelError(
            f"Expected a CLIP or SigLIP vision tower with encoder.layers, got {type(tower).__name__}."
        )
    index = wanted - 1 if wanted >= 0 else len(layers) + wanted
    if not 0 <= index < len(layers):
        raise UnsupportedModelError(
            f"vision_feature_layer={wanted} names no layer that attends; the encoder has {len(layers)}."
        )
    layer = layers[index]
    attention = getattr(layer, "self_attn", None)
    if not all(isinstance(getattr(attention, name, None), nn.Module) for name in ("q_proj", "k_proj")):
        raise UnsupportedModelError(
            f"Expected q_proj and k_proj in the attention of {type(layer).__name__}, found neither."
        )
    return layer


@contextmanager
def watch_vision(model: Any, layer: nn.Module, heads: int) -> Iterator[VisionRecord]:
    """Record one `get_image_features` call of `model` (the base model with tower and projector).

    The hooks are removed on the way out, also after an exception.
    """
    record = VisionRecord()

    def split_heads(states: Tensor) -> Tensor:
        crops, length, _ = states.shape
        return states.detach().reshape(crops, length, heads, -1).transpose(1, 2)

    def on_queries(module: nn.Module, args: Any, output: Tensor) -> None:
        record.queries = split_heads(output)

    def on_keys(module: nn.Module, args: Any, output: Tensor) -> None:
        record.keys = split_heads(output)

    def on_projector(module: nn.Module, args: Any, output: Tensor) -> None:
        record.vision_features, record.projected = args[0].detach(), output.detach()

    attention: Any = layer.self_attn
    handles = [
        attention.q_proj.register_forward_hook(on_queries),
        attention.k_proj.register_forward_hook(on_keys),
        model.multi_modal_projector.register_forward_hook(on_projector),
    ]
    try:
        yield record
    finally:
        for handle in handles:
            handle.remove()
