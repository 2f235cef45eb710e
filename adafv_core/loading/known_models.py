"""Models known to work, with what a person wants to know before downloading one.

Any other id or folder of the same classes loads as well; this list only names and describes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KnownModel:
    """One model of a hub. download_bytes: approximate size of its safetensors. revision: None follows
    `main`.

    chat_template: how it was trained to be asked, used where its processor files bring none. n_visual: visual
    tokens of one image, the largest count where the family is any-resolution.
    """

    model_id: str
    title: str
    model_class: str
    parameters: int
    download_bytes: int
    licence: str
    n_visual: int
    chat_template: str
    revision: str | None = None


_NEXT = "LlavaNextForConditionalGeneration"
_ONEVISION = "LlavaOnevisionForConditionalGeneration"
_LLAVA = "LlavaForConditionalGeneration"
_LLAMA_2 = "Llama 2 Community License"

_IMAGES = "{% for part in message['content'] if part['type'] == 'image' %}<image>\n{% endfor %}"
_TEXTS = "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
_VICUNA = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}" + _IMAGES + _TEXTS + "{{ ' ' }}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
_MISTRAL = (
    "{% for message in messages %}{% if message['role'] == 'user' %}[INST] " + _IMAGES + _TEXTS + " [/INST]"
    "{% else %} " + _TEXTS + "</s>{% endif %}{% endfor %}"
)
_YI = (
    "<|im_start|>system\nAnswer the questions.<|im_end|>"
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}" + _IMAGES + _TEXTS + "<|im_end|>"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_QWEN = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + ' ' }}"
    "{% for part in message['content'] if part['type'] == 'image' %}<image>{% endfor %}"
    "{{ '\n' }}" + _TEXTS + "<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

KNOWN_MODELS: tuple[KnownModel, ...] = (
    KnownModel(
        "llava-hf/llava-1.5-7b-hf", "LLaVA-1.5 7B", _LLAVA, 7_063_000_000, 14_100_000_000, _LLAMA_2, 576, _VICUNA
    ),
    KnownModel(
        "llava-hf/llava-1.5-13b-hf", "LLaVA-1.5 13B", _LLAVA, 13_351_000_000, 26_700_000_000, _LLAMA_2, 576, _VICUNA
    ),
    KnownModel(
        "llava-hf/llava-v1.6-vicuna-7b-hf",
        "LLaVA-NeXT vicuna 7B",
        _NEXT,
        7_063_000_000,
        14_100_000_000,
        _LLAMA_2,
        2880,
        _VICUNA,
    ),
    KnownModel(
        "llava-hf/llava-v1.6-vicuna-13b-hf",
        "LLaVA-NeXT vicuna 13B",
        _NEXT,
        13_351_000_000,
        26_700_000_000,
        _LLAMA_2,
        2880,
        _VICUNA,
    ),
    KnownModel(
        "llava-hf/llava-v1.6-mistral-7b-hf",
        "LLaVA-NeXT mistral 7B",
        _NEXT,
        7_567_000_000,
        15_100_000_000,
        "Apache-2.0",
        2880,
        _MISTRAL,
    ),
    KnownModel(
        "llava-hf/llava-v1.6-34b-hf",
        "LLaVA-NeXT 34B",
        _NEXT,
        34_753_000_000,
        69_500_000_000,
        "Apache-2.0",
        2880,
        _YI,
    ),
    KnownModel(
        "llava-hf/llava-onevision-qwen2-0.5b-ov-hf",
        "LLaVA-OneVision 0.5B",
        _ONEVISION,
        893_000_000,
        1_800_000_000,
        "Apache-2.0",
        7290,
        _QWEN,
    ),
    KnownModel(
        "llava-hf/llava-onevision-qwen2-7b-ov-hf",
        "LLaVA-OneVision 7B",
        _ONEVISION,
        8_030_000_000,
        16_100_000_000,
        "Apache-2.0",
        7290,
        _QWEN,
    ),
)


def find_known(model_id: str) -> KnownModel | None:
    """The entry of that id, or None."""
    return next((known for known in KNOWN_MODELS if known.model_id == model_id), None)
