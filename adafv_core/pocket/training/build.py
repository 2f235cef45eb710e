"""Builds an untrained pocket model and its processor from stock transformers classes."""

from __future__ import annotations

import math

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

IMAGE_PX = 168
PATCH_PX = 12
GRID = IMAGE_PX // PATCH_PX


def build_processor() -> LlavaProcessor:
    """Build the processor: tokenizer, chat template, and image processor (resizes to 168 × 168 px, bicubic, PIL)."""
    size = {"height": IMAGE_PX, "width": IMAGE_PX}
    image_processor = CLIPImageProcessorPil(size=size, crop_size=size, do_center_crop=False)
    return LlavaProcessor(
        image_processor=image_processor,
        tokenizer=build_tokenizer(),
        patch_size=PATCH_PX,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )


def build_config(width: int = 192) -> LlavaConfig:
    """Build the configuration: 5-layer CLIP tower (feature layer -2), two-layer projector, 4-layer Llama."""
    tokenizer = build_tokenizer()
    heads = width // 32
    vision = CLIPVisionConfig(
        image_size=IMAGE_PX,
        patch_size=PATCH_PX,
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
        image_seq_length=GRID * GRID,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        tie_word_embeddings=False,
        pad_token_id=text.pad_token_id,
    )


def build_model(width: int = 192, seed: int = 0) -> LlavaForConditionalGeneration:
    """Build an untrained float32 model with the initialization that made training fast.

    Position embeddings of the patches start as 2-D sinusoids, word embeddings at norm 1, and the key projections of the
    first three LLM layers close to their query projections, so that like attends to like.
    """
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration(build_config(width))
    model.generation_config.eos_token_id = model.config.text_config.eos_token_id
    model.generation_config.pad_token_id = model.config.text_config.pad_token_id
    with torch.no_grad():
        vision = model.model.vision_tower
        vision.embeddings.position_embedding.weight[1:] = _sine_positions(GRID, width)
        torch.nn.init.normal_(vision.embeddings.patch_embedding.weight, std=1 / math.sqrt(3 * PATCH_PX**2))
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
