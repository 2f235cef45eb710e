"""The adapter protocol: what one family of LLaVA-style models must say about itself.

An adapter knows how its family lays out crops, tiles and newline tokens. It runs the stock
`get_image_features` of transformers once, watches it, and sends scores through the same stock packing as
the features, so that the two never lose step. It never changes the model.

A new family is one file: subclass `Adapter`, override `crop_counts`, `pack` and `grid`, and add the file's
name to `_FILES` in `models/__init__.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import AutoProcessor

from adafv_core.errors import UnsupportedModelError
from adafv_core.models.vision_hooks import feature_layer, watch_vision
from adafv_core.types import CLS_ATTENTION, RECEIVED_ATTENTION, TokenGrid, VisualTokens

PixelInputs = Mapping[str, Any]


class Adapter(ABC):
    """One loaded stock model of a known family.

    model: a `…ForConditionalGeneration` of transformers. processor: its processor, or None where only
    `encode` of ready pixel values is needed (boxes then are in pixels of the processed picture where the
    family does not pass the original size on).
    """

    model_class: ClassVar[str]
    """Name of the transformers class this adapter serves."""

    model_type: ClassVar[str]
    """`model_type` in the config of such models."""

    processor_class: ClassVar[Any] = AutoProcessor
    """What loads this family's processor."""

    def __init__(self, model: Any, processor: Any = None) -> None:
        self.model = model
        self.processor = processor
        self.base = model.model
        self.config = model.config
        self.text_config = model.config.text_config
        self.vision_config = model.config.vision_config
        self.image_token_id = int(model.config.image_token_id)
        self.has_cls = _has_cls(self.base.vision_tower)
        self.layer = feature_layer(self.base.vision_tower, model.config.vision_feature_layer)
        if self.has_cls and model.config.vision_feature_select_strategy != "default":
            raise UnsupportedModelError(
                "This vision tower has a [CLS] token that vision_feature_select_strategy="
                f"{model.config.vision_feature_select_strategy!r} passes on as if it were a patch; "
                "expected 'default'."
            )

    @property
    def language_model(self) -> Any:
        """The LLM without its head."""
        return self.base.language_model

    @property
    def device(self) -> torch.device:
        """Where the LLM's input embeddings live."""
        weight: Tensor = self.model.get_input_embeddings().weight
        return weight.device

    @property
    def grid_side(self) -> tuple[int, int]:
        """Rows and columns of patches in one crop."""
        size, patch = self.vision_config.image_size, self.vision_config.patch_size
        height, width = (size, size) if isinstance(size, int) else size
        return height // patch, width // patch

    def embed(self, token_ids: Tensor) -> Tensor:
        """Input embeddings of token ids: (T,) int64 -> (T, D)."""
        embedding: nn.Module = self.model.get_input_embeddings()
        embedded: Tensor = embedding(token_ids.to(self.device))
        return embedded

    @abstractmethod
    def crop_counts(self, pixels: PixelInputs) -> list[int]:
        """How many crops the encoder sees of each image of the call."""

    @abstractmethod
    def pack(self, crops: Tensor, pixels: PixelInputs, image: int, newline: Tensor | None) -> Tensor:
        """Per-crop values of one image in LLM order, by the stock packing of the family.

        crops: (crops, P, ch). newline: (ch,) to be put where newline tokens stand, or None to leave them
        out. Returns (M, ch), or (N, ch) without newlines.
        """

    @abstractmethod
    def grid(self, pixels: PixelInputs, image: int, size: int, image_size: tuple[int, int] | None) -> TokenGrid:
        """Where the N = `size` tokens of one image lie. image_size: (width, height) where the caller knows
        it.
        """

    def pixels(self, pictures: Sequence[Any]) -> PixelInputs:
        """What the stock image processor makes of RGB pictures, one image a prompt."""
        found: PixelInputs = self.processor.image_processor(images=list(pictures), return_tensors="pt")
        return found

    def pixel_arguments(self, pixels: PixelInputs) -> dict[str, Any]:
        """The arguments of the stock `get_image_features` call."""
        names = ("pixel_values", "image_sizes", "batch_num_images")
        return {name: pixels[name] for name in names if pixels.get(name) is not None}

    @torch.no_grad()
    def encode(
        self,
        pixels: PixelInputs,
        image_sizes: Sequence[tuple[int, int]] | None = None,
        image_keys: Sequence[str] | None = None,
    ) -> list[VisualTokens]:
        """Run the vision tower and projector once over all images of `pixels`.

        pixels: what the processor returned (pixel_values, and image_sizes where the family has it), as
        tensors. image_sizes: (width, height) of each original image in pixels. Returns one VisualTokens an
        image.
        """
        tower_device = next(self.base.vision_tower.parameters()).device
        pixels = {
            name: value.to(tower_device) if isinstance(value, Tensor) else value for name, value in pixels.items()
        }
        with watch_vision(self.base, self.layer, self.vision_config.num_attention_heads) as record:
            output = self.base.get_image_features(**self.pixel_arguments(pixels), return_dict=True)
        assert record.projected is not None and record.vision_features is not None
        counts = self.crop_counts(pixels)
        planes = {
            "projected": record.projected,
            "vision": record.vision_features,
            "keys": record.mean_keys(self.has_cls),
            "saliency": record.saliency(self.has_cls),
        }
        split = {name: torch.split(plane, counts) for name, plane in planes.items()}
        found = []
        for image, stock in enumerate(output.pooler_output):
            one = {name: plane[image] for name, plane in split.items()}
            found.append(
                self._visual_tokens(
                    stock,
                    one,
                    pixels,
                    image,
                    image_sizes[image] if image_sizes is not None else None,
                    image_keys[image] if image_keys is not None else "",
                )
            )
        return found

    def _visual_tokens(
        self,
        stock: Tensor,
        planes: Mapping[str, Tensor],
        pixels: PixelInputs,
        image: int,
        image_size: tuple[int, int] | None,
        image_key: str,
    ) -> VisualTokens:
        def packed(plane: Tensor) -> Tensor:
            return self.pack(plane, pixels, image, None).to(self.device)

        cls_attention = planes["saliency"]
        saliency = packed(cls_attention[..., None])[:, 0]
        marks = self.pack(
            torch.zeros_like(cls_attention)[..., None],
            pixels,
            image,
            torch.ones(1, device=cls_attention.device),
        )[:, 0]
        numbers = torch.arange(cls_attention.shape[0], dtype=torch.float32, device=cls_attention.device)
        encoder_crop = packed(numbers[:, None, None].expand(*cls_attention.shape, 1).contiguous())[:, 0]
        is_newline = (marks > 0.5).to(self.device)
        stock = stock.to(self.device, self.model.get_input_embeddings().weight.dtype)
        newline_after = newline = None
        features = stock
        if stock.shape[0] != saliency.shape[0]:
            places = is_newline.nonzero()[:, 0]
            newline_after = places - 1 - torch.arange(places.numel(), device=places.device)
            newline, features = stock[places[0]], stock[~is_newline]
        return VisualTokens(
            features=features,
            saliency=saliency.float(),
            grid=self.grid(pixels, image, saliency.shape[0], image_size),
            stock_features=stock,
            cls_attention=cls_attention.to(self.device),
            vision_features=packed(planes["vision"]),
            vision_keys=packed(planes["keys"]),
            newline_after=newline_after,
            newline=newline,
            image_key=image_key,
            encoder_crop=encoder_crop.round().long(),
            saliency_source=CLS_ATTENTION if self.has_cls else RECEIVED_ATTENTION,
        )


def _has_cls(tower: Any) -> bool:
    embeddings = getattr(getattr(tower, "vision_model", tower), "embeddings", None)
    return getattr(embeddings, "class_embedding", None) is not None
