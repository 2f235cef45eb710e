"""Chat templates of the known model families, written after their public ones, and tokenizers they work with."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from helpers.models_shared import engine_of

from adafv_core.models.prompts import Prompter

_IMAGES = "{% for part in message['content'] if part['type'] == 'image' %}"
_TEXTS = "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}"


def _chatml(system: str, image: str, end: str = "\n") -> str:
    opening = "'<|im_start|>' + message['role'] + '\n'"
    return (
        f"{{% for message in messages %}}{{% if loop.first %}}{system}{{% endif %}}{{{{ {opening} }}}}"
        f"{_IMAGES}{image}{{% endfor %}}{_TEXTS}{{% endfor %}}<|im_end|>{end}{{% endfor %}}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )


_VICUNA = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    f"{_IMAGES}<image>\n{{% endfor %}}{_TEXTS}{{{{ ' ' }}}}{{% endfor %}}{{% endfor %}}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
_CURIOUS = "A chat between a curious human and an artificial intelligence assistant. "
_MISTRAL = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' }}"
    f"{_IMAGES}<image>\n{{% endfor %}}{_TEXTS}{{% endfor %}}{{{{ ' [/INST]' }}}}"
    f"{{% else %}}{{{{ ' ' }}}}{_TEXTS}{{% endfor %}}</s>{{% endif %}}{{% endfor %}}"
)
_ONEVISION = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + ' ' }}"
    f"{_IMAGES}<image>{{% endfor %}}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ '\n' + part['text'] }}{% endfor %}"
    "<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_LLAMA3 = (
    "{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}"
    f"{_IMAGES}<image>\n{{% endfor %}}{_TEXTS}{{% endfor %}}<|eot_id|>{{% endfor %}}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
_SMOLVLM = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
    "{% if message['content'][0]['type'] == 'image' %}:{% else %}{{ ': ' }}{% endif %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% else %}<image>{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
_GRANITE = (
    f"<|system|>\n{_CURIOUS}\n{{% for message in messages %}}{{{{ '<|' + message['role'] + '|>\n' }}}}"
    f"{_IMAGES}<image>\n{{% endfor %}}{_TEXTS}\n{{% endfor %}}{{% endfor %}}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
_GEMMA = (
    "{% for message in messages %}<start_of_turn>{{ 'model' if message['role'] == 'assistant' else 'user' }}\n"
    f"{_IMAGES}<start_of_image><image><end_of_image>{{% endfor %}}{_TEXTS}{{% endfor %}}<end_of_turn>\n{{% endfor %}}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


@dataclass(frozen=True)
class Template:
    """family: whose tiny tokenizer it is used with. special: the special tokens it needs beside that one's."""

    family: str
    text: str
    special: tuple[str, ...] = ()


TEMPLATES = {
    "llava-1.5": Template("llava", _VICUNA),
    "llava-next vicuna": Template("llava", _CURIOUS + _VICUNA),
    "llava-next mistral": Template("llava", _MISTRAL),
    "mistral v3": Template("llava", _MISTRAL, ("[INST]", "[/INST]")),
    "llava-next 34b": Template(
        "llava_siglip", _chatml("<|im_start|>system\nAnswer the questions.<|im_end|>", "<image>\n", "")
    ),
    "llava-next llama 3": Template("llava_siglip", _LLAMA3, ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")),
    "llava-onevision": Template("llava_siglip", _ONEVISION),
    "qwen2-vl": Template(
        "llava_siglip",
        _chatml(
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n", "<|vision_start|><image><|vision_end|>"
        ),
        ("<|vision_start|>", "<|vision_end|>"),
    ),
    "internvl": Template("llava_siglip", _chatml("", "<img><image></img>\n"), ("<img>", "</img>")),
    "smolvlm": Template("llava_siglip", _SMOLVLM, ("<end_of_utterance>",)),
    "granite vision": Template("llava_siglip", _GRANITE),
    "gemma 3": Template(
        "llava_siglip", _GEMMA, ("<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>")
    ),
}


def prompter_of(name: str) -> Prompter:
    """The prompter of a processor with this template and its special tokens."""
    template, engine = TEMPLATES[name], engine_of(TEMPLATES[name].family)
    processor: Any = copy.deepcopy(engine.processor)
    processor.chat_template = template.text
    processor.tokenizer.add_tokens(list(template.special), special_tokens=True)
    return Prompter(processor, engine.adapter.image_token_id)
