"""Models known to work, with what to know before downloading one.

Any other Hub id or folder of the same classes loads as well; this list only names and describes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KnownModel:
    """One model on the Hub.

    parameters, download_bytes: of its safetensors, in 16 bits; approximate. n_visual: visual tokens of one image, the
    largest count where it depends on the picture. pixels_per_token: pixels of the encoder's input that one visual
    token stands for. chat_template: the prompt format of its training, used where its processor files bring none
    ("" where they do). revision: None follows `main`.
    """

    model_id: str
    title: str
    model_class: str
    parameters: int
    download_bytes: int
    licence: str
    n_visual: int
    chat_template: str
    pixels_per_token: int
    revision: str | None = None

    @property
    def gpu_bytes(self) -> int:
        """Roughly the free GPU memory that answering needs: weights in 16 bits, and a fifth for activations and the KV
        cache.
        """
        return self.parameters * 2 * 6 // 5

    @property
    def cpu_bytes(self) -> int:
        """Roughly the free memory that answering on the CPU needs: weights in 32 bits, and a fifth on top."""
        return self.parameters * 4 * 6 // 5


def advised(free_bytes: int, on_gpu: bool) -> tuple[KnownModel, ...]:
    """The known models that fit into `free_bytes` of memory, the best choice first.

    On a GPU larger models come first; on a CPU, where the time of an answer grows with the parameters, smaller ones.
    """
    fitting = [known for known in KNOWN_MODELS if (known.gpu_bytes if on_gpu else known.cpu_bytes) <= free_bytes]
    return tuple(sorted(fitting, key=lambda known: known.parameters, reverse=on_gpu))


_NEXT = "LlavaNextForConditionalGeneration"
_ONEVISION = "LlavaOnevisionForConditionalGeneration"
_LLAVA = "LlavaForConditionalGeneration"
_SMOLVLM = "SmolVLMForConditionalGeneration"
_IDEFICS3 = "Idefics3ForConditionalGeneration"
_INTERNVL = "InternVLForConditionalGeneration"
_QWEN2_VL = "Qwen2VLForConditionalGeneration"
_QWEN2_5 = "Qwen2_5_VLForConditionalGeneration"
_QWEN3_VL = "Qwen3VLForConditionalGeneration"
_LLAMA_2 = "Llama 2 Community License"
_APACHE = "Apache-2.0"
_QWEN_ONLY = "Qwen Research License (no commercial use)"

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
        "llava-hf/llava-1.5-7b-hf", "LLaVA-1.5 7B", _LLAVA, 7_063_000_000, 14_100_000_000, _LLAMA_2, 576, _VICUNA, 196
    ),
    KnownModel(
        "llava-hf/llava-1.5-13b-hf",
        "LLaVA-1.5 13B",
        _LLAVA,
        13_351_000_000,
        26_700_000_000,
        _LLAMA_2,
        576,
        _VICUNA,
        196,
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
        196,
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
        196,
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
        196,
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
        196,
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
        202,
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
        202,
    ),
    KnownModel(
        "HuggingFaceTB/SmolVLM-256M-Instruct",
        "SmolVLM 256M",
        _SMOLVLM,
        256_485_000,
        513_000_000,
        _APACHE,
        1088,
        "",
        4096,
    ),
    KnownModel(
        "HuggingFaceTB/SmolVLM-500M-Instruct",
        "SmolVLM 500M",
        _SMOLVLM,
        507_482_000,
        1_015_000_000,
        _APACHE,
        1088,
        "",
        4096,
    ),
    KnownModel(
        "HuggingFaceTB/SmolVLM-Instruct", "SmolVLM 2B", _SMOLVLM, 2_246_000_000, 4_490_000_000, _APACHE, 1377, "", 1820
    ),
    KnownModel(
        "HuggingFaceM4/Idefics3-8B-Llama3",
        "Idefics3 8B",
        _IDEFICS3,
        8_462_000_000,
        16_920_000_000,
        _APACHE,
        2873,
        "",
        784,
    ),
    KnownModel(
        "OpenGVLab/InternVL3-1B-hf", "InternVL3 1B", _INTERNVL, 938_000_000, 1_876_000_000, _APACHE, 3328, "", 784
    ),
    KnownModel(
        "OpenGVLab/InternVL3-2B-hf", "InternVL3 2B", _INTERNVL, 2_089_000_000, 4_178_000_000, _APACHE, 3328, "", 784
    ),
    KnownModel(
        "OpenGVLab/InternVL3-8B-hf", "InternVL3 8B", _INTERNVL, 7_944_000_000, 15_890_000_000, _APACHE, 3328, "", 784
    ),
    KnownModel(
        "Qwen/Qwen2-VL-2B-Instruct", "Qwen2-VL 2B", _QWEN2_VL, 2_209_000_000, 4_418_000_000, _APACHE, 16384, "", 784
    ),
    KnownModel(
        "Qwen/Qwen2-VL-7B-Instruct", "Qwen2-VL 7B", _QWEN2_VL, 8_291_000_000, 16_580_000_000, _APACHE, 16384, "", 784
    ),
    KnownModel(
        "Qwen/Qwen2.5-VL-3B-Instruct",
        "Qwen2.5-VL 3B",
        _QWEN2_5,
        3_755_000_000,
        7_510_000_000,
        _QWEN_ONLY,
        16384,
        "",
        784,
    ),
    KnownModel(
        "Qwen/Qwen2.5-VL-7B-Instruct", "Qwen2.5-VL 7B", _QWEN2_5, 8_292_000_000, 16_580_000_000, _APACHE, 16384, "", 784
    ),
    KnownModel(
        "Qwen/Qwen3-VL-2B-Instruct", "Qwen3-VL 2B", _QWEN3_VL, 2_128_000_000, 4_255_000_000, _APACHE, 16384, "", 1024
    ),
    KnownModel(
        "Qwen/Qwen3-VL-4B-Instruct", "Qwen3-VL 4B", _QWEN3_VL, 4_438_000_000, 8_876_000_000, _APACHE, 16384, "", 1024
    ),
    KnownModel(
        "Qwen/Qwen3-VL-8B-Instruct", "Qwen3-VL 8B", _QWEN3_VL, 8_767_000_000, 17_530_000_000, _APACHE, 16384, "", 1024
    ),
)


def find_known(model_id: str) -> KnownModel | None:
    """The entry of that id, or None."""
    return next((known for known in KNOWN_MODELS if known.model_id == model_id), None)
