"""The adapter protocol: what one family of vision-language models must say about itself.

An adapter knows how its family turns encoder positions into LLM tokens (crops, tiles, merge units, newline tokens). It
runs the stock `get_image_features` of transformers once, observes it, and sends scores through the same packing as the
features, so that the two never get out of step. It never changes the model.

A new family is one file: subclass `Adapter` (or the family it resembles), override what differs, and add the file's
name to `_FILES` in `models/__init__.py`. A family answers five questions:

1. Which modules: `TOWER`, `PROJECTOR`, `LANGUAGE_MODEL` and `ATTENTION` name them, `feature_layer` finds the layer.
2. How encoder positions become LLM tokens: `crop_counts`, `merge`, `pack`, `grid` (without them: one square crop an
   image), and `image_ids` where text stands between the image tokens of one picture.
3. Where saliency comes from: `modules` (what to observe) and `planes` (what was observed, one value per LLM token).
4. How position ids are made: `POSITIONS` and `position_ids`.
5. What else is indexed like the features: `layer_features` and `encoder_output`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import AutoProcessor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from adafv_core import cost
from adafv_core.errors import ImageError, InputError, UnsupportedModelError
from adafv_core.grid import Box
from adafv_core.models.class_token import check_strategy, has_class_token
from adafv_core.models.packing import visual_tokens
from adafv_core.models.processors import shown_box
from adafv_core.models.vision_hooks import Call, execution_device, layer_number, observe
from adafv_core.scoring import saliency_of
from adafv_core.types import CLS_ATTENTION, RECEIVED_ATTENTION, Crop, TokenGrid, VisualTokens

PixelInputs = Mapping[str, Any]


class Adapter:
    """One loaded stock model of a known family.

    model: a `…ForConditionalGeneration` of transformers. processor: its processor, or None where only `encode` of ready
    pixel values is needed (boxes then are in pixels of the processed picture where the family does not pass the
    original size on). Raises UnsupportedModelError for a vision tower that it cannot score.
    """

    model_class: ClassVar[str]
    """Name of the transformers class this adapter serves."""

    model_type: ClassVar[str]
    """`model_type` in the config of such models."""

    processor_class: ClassVar[Any] = AutoProcessor
    """What loads this family's processor."""

    PIXEL_NAMES: ClassVar[tuple[str, ...]] = ("pixel_values", "image_sizes", "batch_num_images")
    """Arguments of the stock `get_image_features`, by the names that `generate` takes them under."""

    PROMPT_NAMES: ClassVar[tuple[str, ...]] = ()
    """Further arguments of `generate` that describe the whole prompt and no longer fit a shortened one."""

    POSITIONS: ClassVar[tuple[str, ...]] = ("contiguous", "original")
    """Position ids that kept tokens may have; the first is used where neither the caller nor the method chooses."""

    TILED_ALONE: ClassVar[bool] = False
    """Whether an image is cut into tiles only where it is the only one of its prompt."""

    TOWER: ClassVar[str] = "vision_tower"
    """Where the vision encoder is in `model.model`, by dotted name; `tower` is the module."""

    PROJECTOR: ClassVar[str] = "multi_modal_projector"
    """Where the module between vision encoder and LLM is, whose input is `VisualTokens.vision_features`."""

    LANGUAGE_MODEL: ClassVar[str] = "language_model"
    """Where the LLM without its head is."""

    ATTENTION: ClassVar[str] = "self_attn"
    """Where the attention module is in an encoder layer."""

    def __init__(self, model: Any, processor: Any = None) -> None:
        self.model = model
        self.processor = processor
        self.base = model.model
        self.config = model.config
        self.text_config = model.config.text_config
        self.vision_config = model.config.vision_config
        self.image_token_id = int(model.config.image_token_id)
        self.tower: Any = self.base.get_submodule(self.TOWER)
        self.projector: Any = self.base.get_submodule(self.PROJECTOR)
        self.language_model: Any = self.base.get_submodule(self.LANGUAGE_MODEL)
        self.layer = self.feature_layer()
        self.attention: Any = self.layer.get_submodule(self.ATTENTION)
        self.has_cls = has_class_token(self.tower)
        check_strategy(self.config, self.has_cls)

    # 1. Which modules

    def feature_layer(self) -> Any:
        """The encoder layer whose attention is read: the one whose output is the feature layer."""
        layer = self.layers[layer_number(self.layers, self.config.vision_feature_layer, type(self.tower).__name__)]
        attention = getattr(layer, "self_attn", None)
        if not all(isinstance(getattr(attention, name, None), nn.Module) for name in ("q_proj", "k_proj")):
            raise UnsupportedModelError(
                f"Expected q_proj and k_proj in the attention of {type(layer).__name__}, found neither."
            )
        return layer

    @cached_property
    def layers(self) -> Any:
        """The list of the encoder's layers."""
        tower = getattr(self.tower, "vision_model", self.tower)
        return getattr(getattr(tower, "encoder", None), "layers", None)

    @cached_property
    def unused_layers(self) -> tuple[nn.Module, ...]:
        """The encoder layers behind every feature layer, which `encode` leaves out: one for vision_feature_layer = -2,
        none where the last layer's output is used, as in the families without `vision_feature_layer`.
        """
        wanted = getattr(self.config, "vision_feature_layer", None)
        if wanted is None:
            return ()
        numbers = [wanted] if isinstance(wanted, int) else wanted
        last = max(layer_number(self.layers, one, type(self.tower).__name__) for one in numbers)
        return tuple(self.layers[last + 1 :])

    @property
    def device(self) -> torch.device:
        """Where the LLM's input embeddings are computed."""
        return execution_device(self.model.get_input_embeddings())

    def embed(self, token_ids: Tensor) -> Tensor:
        """Input embeddings of token ids: (T,) int64 -> (T, D)."""
        embedding: nn.Module = self.model.get_input_embeddings()
        embedded: Tensor = embedding(token_ids.to(self.device))
        return embedded

    # 2. How encoder positions become LLM tokens

    @cached_property
    def merge_side(self) -> int:
        """Patches down and across that one LLM token stands for."""
        return 1

    @cached_property
    def grid_side(self) -> tuple[int, int]:
        """Rows and columns of LLM tokens in one crop."""
        (height, width), (down, across) = map(cost.pair, (self.vision_config.image_size, self.vision_config.patch_size))
        return height // down // self.merge_side, width // across // self.merge_side

    def crop_counts(self, pixels: PixelInputs) -> list[int]:
        """How many crops the encoder sees of each image of the call."""
        return [1] * int(pixels["pixel_values"].shape[0])

    def merge(self, plane: Tensor) -> Tensor:
        """Values per encoder position -> per LLM token, the mean of each merge unit: (crops, patches, ch) -> (crops, P,
        ch). P = patches where the family does not merge; here units are square blocks of a square, row-major crop.
        """
        if self.merge_side == 1:
            return plane
        side = self.merge_side
        rows, cols = self.grid_side
        blocks = plane.reshape(plane.shape[0], rows, side, cols, side, -1)
        return blocks.mean(dim=(2, 4)).flatten(1, 2)

    def pack(self, crops: Tensor, pixels: PixelInputs, image: int, newline: Tensor | None) -> Tensor:
        """Per-crop values of one image in LLM order, by the stock packing of the family.

        crops: (crops, P, ch). newline: (ch,) to be put where newline tokens stand, or None to leave them out. Returns
        (M, ch), or (N, ch) without newlines. The default lays one crop after the other.
        """
        return crops.flatten(0, 1)

    def grid(self, pixels: PixelInputs, image: int, size: int, image_size: tuple[int, int] | None) -> TokenGrid:
        """Where the N = `size` tokens of one image lie. image_size: (width, height) where the caller knows it."""
        height, width = (int(side) for side in pixels["pixel_values"].shape[-2:])
        rows, cols = self.grid_side
        box: Box = (0.0, 0.0, float(width), float(height))
        if image_size is not None and self.processor is not None:
            box = shown_box(image_size, self.processor.image_processor)
        return TokenGrid(image_size or (width, height), (Crop("base", rows, cols, box, 0),))

    def image_ids(self, visual: VisualTokens) -> list[int]:
        """The token ids that stand for one image in a prompt, in place of the template's single placeholder: M image
        tokens, and whatever text the family's processor puts around and between them.
        """
        return [self.image_token_id] * visual.stock_size

    def pixels(self, pictures: Sequence[Any], together: bool = False) -> PixelInputs:
        """Run the stock image processor on RGB pictures. Raises ImageError where it refuses.

        together: as the images of one prompt, at least two of them, which matters where `TILED_ALONE`; else each is the
        only one of its prompt.
        """
        options = getattr(self.processor, "images_kwargs", {})
        try:
            found: PixelInputs = self.processor.image_processor(images=list(pictures), return_tensors="pt", **options)
        except ValueError as error:
            raise ImageError(f"The model's image processor refuses this image: {error}.") from error
        return found

    def from_prompts(self, pixels: PixelInputs, prompts: Sequence[Tensor]) -> PixelInputs:
        """Add to pixel inputs what only the processed prompts tell, such as the tiles of each image.

        prompts: (L,) int64 token ids of each prompt, without padding. Here nothing is missing.
        """
        return pixels

    # 3. Where saliency comes from

    def modules(self) -> dict[str, nn.Module]:
        """The modules to observe during one `get_image_features` call, by name."""
        return {"queries": self.attention.q_proj, "keys": self.attention.k_proj, "projector": self.projector}

    def planes(self, calls: Mapping[str, Call], pixels: PixelInputs) -> list[dict[str, Tensor]]:
        """What the observed calls say about each image, in encoder order: "saliency" (crops, P) float32, "vision"
        (crops, P, Dv), "keys" (crops, P, d).
        """
        heads = self.vision_config.num_attention_heads
        projected = (calls[name].output.detach() for name in ("queries", "keys"))
        queries, keys = (states.unflatten(-1, (heads, -1)).transpose(1, 2) for states in projected)
        saliency = saliency_of(queries, keys, self.has_cls)
        patch_keys = keys[:, :, 1:] if self.has_cls else keys
        found = {
            "saliency": self.merge(saliency[..., None])[..., 0],
            "vision": calls["projector"].args[0].detach(),
            "keys": self.merge(patch_keys.mean(1)),
        }
        counts = self.crop_counts(pixels)
        if sum(counts) != saliency.shape[0]:
            raise InputError(
                f"The images of this call have {sum(counts)} crops, the encoder saw {saliency.shape[0]}; pass pixel "
                "values and prompts of one processor call."
            )
        split = {name: torch.split(plane, counts) for name, plane in found.items()}
        return [{name: parts[image] for name, parts in split.items()} for image in range(len(counts))]

    # 4. How position ids are made

    def position_ids(self, ids: Tensor, visuals: Sequence[VisualTokens]) -> Tensor | None:
        """(3, L) int64 position ids of a whole prompt, by stock code, where the family has several a token (M-RoPE);
        None where they are plain 0, 1, 2, …

        ids: (L,) int64, without padding, every image with all its image tokens. visuals: its images in order.
        """
        return None

    # 5. What else is indexed like the features

    def stock_features(self, output: Any, pixels: PixelInputs) -> list[Tensor]:
        """(M, D) features of each image from the output of `get_image_features`."""
        return list(output.pooler_output)

    def layer_features(self, output: Any, image: int) -> Tensor | None:
        """(S, M, D) features of one image that LLM layers 0 … S−1 add at its tokens (DeepStack), or None."""
        return None

    def encoder_output(self, features: Sequence[Tensor], layer_features: Sequence[Tensor]) -> Any:
        """The value of `mm_encoder_outputs["image"]` that makes stock `forward` use these features.

        features: (K, D) kept features of each image. layer_features: (S, K, D) each, or empty.
        """
        return BaseModelOutputWithPooling(pooler_output=list(features))

    # Cost

    def vision_flops(self, visual: VisualTokens) -> int:
        """FLOPs of encoding and projecting one image."""
        crops, tokens = visual.required("cls_attention", "The cost of encoding").shape
        return cost.vision_flops(self.crop_shape, crops) + self.projector_flops(crops * tokens)

    @cached_property
    def crop_shape(self) -> cost.VisionShape:
        """The encoder's integers for one crop, where all crops have one size."""
        layers = self.vision_config.num_hidden_layers - len(self.unused_layers)
        return cost.VisionShape.from_config(self.vision_config, layers, self.has_cls)

    @cached_property
    def llm_shape(self) -> cost.LLMShape:
        """The LLM's integers."""
        return cost.LLMShape.from_config(self.text_config)

    def projector_flops(self, tokens: int) -> int:
        """FLOPs of projecting `tokens` LLM tokens."""
        width = self.vision_config.hidden_size * self.merge_side**2
        return cost.projector_flops(tokens, width, self.text_config.hidden_size)

    # The call

    @torch.no_grad()
    def encode(
        self,
        pixels: PixelInputs,
        image_sizes: Sequence[tuple[int, int]] | None = None,
        image_keys: Sequence[str] | None = None,
    ) -> list[VisualTokens]:
        """Run the vision tower, up to the feature layer, and the projector once over all images of `pixels`. Safe from
        several threads.

        pixels: what the processor returned (pixel_values, and image_sizes where the family has it), as tensors.
        image_sizes: (width, height) of each original image in pixels. Returns one VisualTokens per image.
        """
        place = execution_device(self.tower)
        pixels = {name: value.to(place) if isinstance(value, Tensor) else value for name, value in pixels.items()}
        arguments = {name: pixels[name] for name in self.PIXEL_NAMES if pixels.get(name) is not None}
        with observe(self.base, self.modules(), self.unused_layers) as calls:
            output = self.base.get_image_features(**arguments, return_dict=True)
        found = self.planes(calls, pixels)
        dtype = self.model.get_input_embeddings().weight.dtype
        stock = [features.to(dtype) for features in self.stock_features(output, pixels)]
        return [
            visual_tokens(
                stock[image],
                planes,
                partial(self._packed, pixels, image),
                partial(self._grid_of, pixels, image, image_sizes[image] if image_sizes is not None else None),
                self.device,
                image_key=image_keys[image] if image_keys is not None else "",
                saliency_source=CLS_ATTENTION if self.has_cls else RECEIVED_ATTENTION,
                layer_features=self.layer_features(output, image),
            )
            for image, planes in enumerate(found)
        ]

    def _packed(self, pixels: PixelInputs, image: int, crops: Tensor, newline: Tensor | None) -> Tensor:
        return self.pack(crops, pixels, image, newline)

    def _grid_of(self, pixels: PixelInputs, image: int, image_size: tuple[int, int] | None, size: int) -> TokenGrid:
        return self.grid(pixels, image, size, image_size)
