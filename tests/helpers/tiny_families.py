"""Tiny random models of the families beyond LLaVA: real config classes, processors and tokenizers."""

from __future__ import annotations

from typing import Any

from helpers.tiny_tokenizers import byte_level, llm_config
from transformers import (
    GotOcr2ImageProcessorPil,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLVisionConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMoeConfig,
    Qwen3VLMoeForConditionalGeneration,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessorPil,
)

from adafv_core.models import ADAPTERS

_MEAN = {"image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28]}

_QWEN = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_INTERN = _QWEN.replace("<|vision_start|><|image_pad|><|vision_end|>", "<IMG_CONTEXT>\n")
_SMOL = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}:"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>"
    "{% else %}{{ ' ' + part['text'] }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
_MARKS = [f"<row_{row}_col_{col}>" for row in range(1, 5) for col in range(1, 5)]


def _qwen_tokenizer() -> PreTrainedTokenizerFast:
    return byte_level(["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"], "<|image_pad|>")


def _qwen_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    names = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    return {name: tokenizer.convert_tokens_to_ids(token) for name, token in names.items()}


def _qwen(family: str) -> tuple[Any, Any]:
    tokenizer = _qwen_tokenizer()
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 2, 2]}
    vision: dict[str, Any] = {"depth": 4, "num_heads": 4, "spatial_merge_size": 2, "initializer_range": 0.2}
    text = llm_config(tokenizer, rope_parameters=rope)
    patch = 14
    if family == "qwen2_vl":
        vision |= {"embed_dim": 32, "hidden_size": 48, "mlp_ratio": 2, "patch_size": 14}
        config = Qwen2VLConfig(vision_config=vision, text_config=text, **_qwen_ids(tokenizer))
        model: Any = Qwen2VLForConditionalGeneration(config)
    elif family == "qwen2_5_vl":
        vision |= {"hidden_size": 32, "intermediate_size": 40, "out_hidden_size": 48, "patch_size": 14}
        vision |= {"window_size": 56, "fullatt_block_indexes": [1, 2]}
        config = Qwen2_5_VLConfig(vision_config=vision, text_config=text, **_qwen_ids(tokenizer))
        model = Qwen2_5_VLForConditionalGeneration(config)
    else:
        patch = 16
        vision |= {"hidden_size": 32, "intermediate_size": 40, "out_hidden_size": 48, "patch_size": 16}
        vision |= {"num_position_embeddings": 64, "deepstack_visual_indexes": [0, 2]}
        text |= {"head_dim": 12}
        if family == "qwen3_vl":
            config = Qwen3VLConfig(vision_config=vision, text_config=text, **_qwen_ids(tokenizer))
            model = Qwen3VLForConditionalGeneration(config)
        else:
            text |= {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
            config = Qwen3VLMoeConfig(vision_config=vision, text_config=text, **_qwen_ids(tokenizer))
            model = Qwen3VLMoeForConditionalGeneration(config)
    area = (2 * patch) ** 2
    images = Qwen2VLImageProcessorPil(
        size={"shortest_edge": 4 * area, "longest_edge": 24 * area}, patch_size=patch, merge_size=2, **_MEAN
    )
    return model, ADAPTERS[type(model).__name__].processor_class(images, tokenizer, chat_template=_QWEN)


def _internvl() -> tuple[Any, Any]:
    tokenizer = byte_level(["<IMG_CONTEXT>", "<img>", "</img>", "<video>"], "<IMG_CONTEXT>")
    tokenizer.init_kwargs["extra_special_tokens"] = names = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    tokenizer._set_model_specific_special_tokens(special_tokens=names)
    vision = InternVLVisionConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=[56, 56],
        patch_size=[14, 14],
        use_qk_norm=True,
        norm_type="rms_norm",
        initializer_range=0.2,
    )
    config = InternVLConfig(
        vision_config=vision,
        text_config=Qwen2Config(**llm_config(tokenizer)),
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
    )
    images = GotOcr2ImageProcessorPil(
        size={"height": 56, "width": 56}, crop_to_patches=True, min_patches=1, max_patches=6, **_MEAN
    )
    processor = ADAPTERS["InternVLForConditionalGeneration"].processor_class(
        images, tokenizer, image_seq_length=4, chat_template=_INTERN
    )
    return _with_drawn_cls(InternVLForConditionalGeneration(config)), processor


def _with_drawn_cls(model: Any) -> Any:
    """transformers starts [CLS] and positions of InternVL at zero, where all attention would be alike."""
    embeddings = model.model.vision_tower.embeddings
    embeddings.cls_token.data.normal_()
    embeddings.position_embeddings.data.normal_(std=0.3)
    return model


def _idefics(family: str) -> tuple[Any, Any]:
    tokenizer = byte_level(
        ["<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", *_MARKS], "<image>"
    )
    config_class, model_class, images_class = (
        (Idefics3Config, Idefics3ForConditionalGeneration, Idefics3ImageProcessorPil)
        if family == "idefics3"
        else (SmolVLMConfig, SmolVLMForConditionalGeneration, SmolVLMImageProcessorPil)
    )
    config = config_class(
        vision_config={
            "hidden_size": 24,
            "intermediate_size": 40,
            "num_hidden_layers": 3,
            "num_attention_heads": 3,
            "image_size": 56,
            "patch_size": 14,
            "initializer_range": 0.2,
        },
        text_config=LlamaConfig(**llm_config(tokenizer)),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=tokenizer.pad_token_id,
    )
    images = images_class(size={"longest_edge": 112}, max_image_size={"longest_edge": 56}, **_MEAN)
    model = model_class(config)
    processor = ADAPTERS[type(model).__name__].processor_class(images, tokenizer, image_seq_len=4, chat_template=_SMOL)
    return model, processor


NEWER = {
    "qwen2_vl": lambda: _qwen("qwen2_vl"),
    "qwen2_5_vl": lambda: _qwen("qwen2_5_vl"),
    "qwen3_vl": lambda: _qwen("qwen3_vl"),
    "qwen3_vl_moe": lambda: _qwen("qwen3_vl_moe"),
    "internvl": _internvl,
    "idefics3": lambda: _idefics("idefics3"),
    "smolvlm": lambda: _idefics("smolvlm"),
}
