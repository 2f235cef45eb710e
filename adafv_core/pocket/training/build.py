"""Builds an untrained pocket model and its processor from stock transformers classes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from adafv_core.pocket.world.vocabulary import BOS, CHAT_TEMPLATE, EOS, IMAGE, PAD, build_tokenizer


@dataclass(frozen=True)
class Recipe:
    """What differs between the models that are trained here.

    patch_px divides image_px. drop_share: probability that a batch with questions gets a reduced budget of visual
    tokens. seed: of the weights and of the questions drawn, unless the command line names another.
    """

    image_px: int = 168
    patch_px: int = 12
    drop_share: float = 0.6
    seed: int = 0

    @property
    def grid(self) -> int:
        """Patches on a side."""
        return self.image_px // self.patch_px


RECIPES = {"pocket": Recipe(), "second": Recipe(patch_px=14, drop_share=0.0, seed=7)}
"""By name: the bundled model, and a second one that rules are validated on beside it, never trained on dropped tokens.
"""
POCKET = RECIPES["pocket"]
IMAGE_PX, GRID, POCKET_DROP_SHARE = POCKET.image_px, POCKET.grid, POCKET.drop_share


def build_processor(recipe: Recipe = POCKET) -> LlavaProcessor:
    """Build the processor: tokenizer, chat template, and image processor (resizes to image_px, bicubic, PIL)."""
    size = {"height": recipe.image_px, "width": recipe.image_px}
    image_processor = CLIPImageProcessorPil(size=size, crop_size=size, do_center_crop=False)
    return LlavaProcessor(
        image_processor=image_processor,
        tokenizer=build_tokenizer(),
        patch_size=recipe.patch_px,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )


def build_config(width: int = 192, recipe: Recipe = POCKET) -> LlavaConfig:
    """Build the configuration: 5-layer CLIP tower (feature layer -2), two-layer projector, 4-layer Llama."""
    tokenizer = build_tokenizer()
    heads = width // 32
    vision = CLIPVisionConfig(
        image_size=recipe.image_px,
        patch_size=recipe.patch_px,
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=5,
        num_attention_heads=heads,
        projection_dim=width,
        hidden_act="gelu",
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=width * 8 // 3,
        num_hidden_layers=4,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=1024,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        tie_word_embeddings=False,
        bos_token_id=tokenizer.convert_tokens_to_ids(BOS),
        eos_token_id=tokenizer.convert_tokens_to_ids(EOS),
        pad_token_id=tokenizer.convert_tokens_to_ids(PAD),
    )
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=recipe.grid**2,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        tie_word_embeddings=False,
        pad_token_id=text.pad_token_id,
    )


def build_model(width: int = 192, seed: int = 0, recipe: Recipe = POCKET) -> LlavaForConditionalGeneration:
    """Build an untrained float32 model with the initialization that made training fast.

    Position embeddings of the patches start as 2-D sinusoids, word embeddings at norm 1, and the key projections of the
    first three LLM layers close to their query projections, so that like attends to like.
    """
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration(build_config(width, recipe))
    model.generation_config.eos_token_id = model.config.text_config.eos_token_id
    model.generation_config.pad_token_id = model.config.text_config.pad_token_id
    with torch.no_grad():
        vision = model.model.vision_tower
        vision.embeddings.position_embedding.weight[1:] = _sine_positions(recipe.grid, width)
        torch.nn.init.normal_(vision.embeddings.patch_embedding.weight, std=1 / math.sqrt(3 * recipe.patch_px**2))
        for parameter in vision.encoder.parameters():
            if parameter.dim() == 2:
                torch.nn.init.normal_(parameter, std=1 / math.sqrt(parameter.shape[1]) * 0.6)
        for linear in (
            model.model.multi_modal_projector.linear_1,
            model.model.multi_modal_projector.linear_2,
        ):
            torch.nn.init.normal_(linear.weight, std=1 / math.sqrt(width))
        torch.nn.init.normal_(model.get_input_embeddings().weight, std=1 / math.sqrt(width))
        for layer in model.model.language_model.layers:
            for parameter in layer.parameters():
                if parameter.dim() == 2:
                    torch.nn.init.normal_(parameter, std=0.7 / math.sqrt(parameter.shape[1]))
        for layer in model.model.language_model.layers[:3]:
            query, key = layer.self_attn.q_proj.weight, layer.self_attn.k_proj.weight
            key.copy_(0.8 * query + 0.3 * key)
    return model


def _sine_positions(grid: int, width: int) -> torch.Tensor:
    quarter = width // 4
    rates = torch.exp(-math.log(40.0) * torch.arange(quarter) / quarter)
    steps = torch.arange(grid)[:, None] * rates[None, :] * math.pi / 2
    waves = torch.cat([steps.sin(), steps.cos()], 1)
    rows = waves[:, None, :].expand(grid, grid, -1)
    columns = waves[None, :, :].expand(grid, grid, -1)
    return 0.5 * torch.cat([rows, columns], 2).reshape(grid * grid, -1)
