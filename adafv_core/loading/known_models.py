"""Models known to work, with their sizes and licenses. Other models of the same classes load as well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class KnownModel:
    """One model on the Hub.

    parameters, download_bytes: of its safetensors, in 16 bits; approximate. n_visual: visual tokens per image, the
    maximum if it depends on the picture. pixels_per_token: pixels of the encoder's input that one visual token
    represents. chat_template: the prompt format of its training, used if its processor files contain none ("" if they
    do). revision: None follows `main`.
    """

    model_id: str
    title: str
    model_class: str
    parameters: int
    download_bytes: int
    license: str
    n_visual: int
    chat_template: str
    pixels_per_token: int
    revision: str | None = None

    @property
    def gpu_bytes(self) -> int:
        """Approximate free GPU memory needed: weights in 16 bits, plus a fifth for activations and the KV cache."""
        return self.parameters * 2 * 6 // 5

    @property
    def cpu_bytes(self) -> int:
        """Approximate free memory needed on the CPU: weights in 32 bits, plus a fifth."""
        return self.parameters * 4 * 6 // 5

    def needed_bytes(self, on_gpu: bool) -> int:
        """Roughly the free memory that answering needs on a GPU, or on the CPU."""
        return self.gpu_bytes if on_gpu else self.cpu_bytes


def advised(free_bytes: int, on_gpu: bool) -> tuple[KnownModel, ...]:
    """The known models that fit into `free_bytes` of memory, best choice first.

    On a GPU larger models come first; on a CPU, where answer time grows with the number of parameters, smaller ones.
    """
    fitting = [known for known in KNOWN_MODELS if known.needed_bytes(on_gpu) <= free_bytes]
    return tuple(sorted(fitting, key=lambda known: known.parameters, reverse=on_gpu))


_NEXT = "LlavaNextForConditionalGeneration"
_SMOLVLM = "SmolVLMForConditionalGeneration"
_QWEN2_5 = "Qwen2_5_VLForConditionalGeneration"
_LLAMA_2 = "Llama 2 Community License"
_APACHE = "Apache-2.0"

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


_Maker = Callable[[str, str, int, int], KnownModel]


def _of(model_class: str, license_name: str, n_visual: int, template: str, pixels_per_token: int) -> _Maker:
    """Makes the models of one family from their Hub id, title, parameters and download_bytes."""

    def make(model_id: str, title: str, parameters: int, download: int) -> KnownModel:
        return KnownModel(
            model_id, title, model_class, parameters, download, license_name, n_visual, template, pixels_per_token
        )

    return make


_llava = _of("LlavaForConditionalGeneration", _LLAMA_2, 576, _VICUNA, 196)
_next_vicuna = _of(_NEXT, _LLAMA_2, 2880, _VICUNA, 196)
_next_mistral = _of(_NEXT, _APACHE, 2880, _MISTRAL, 196)
_next_yi = _of(_NEXT, _APACHE, 2880, _YI, 196)
_onevision = _of("LlavaOnevisionForConditionalGeneration", _APACHE, 7290, _QWEN, 202)
_smolvlm_small = _of(_SMOLVLM, _APACHE, 1088, "", 4096)
_smolvlm_2b = _of(_SMOLVLM, _APACHE, 1377, "", 1820)
_idefics3 = _of("Idefics3ForConditionalGeneration", _APACHE, 2873, "", 784)
_internvl = _of("InternVLForConditionalGeneration", _APACHE, 3328, "", 784)
_qwen2_vl = _of("Qwen2VLForConditionalGeneration", _APACHE, 16384, "", 784)
_qwen2_5_vl_3b = _of(_QWEN2_5, "Qwen Research License (no commercial use)", 16384, "", 784)
_qwen2_5_vl = _of(_QWEN2_5, _APACHE, 16384, "", 784)
_qwen3_vl = _of("Qwen3VLForConditionalGeneration", _APACHE, 16384, "", 1024)

KNOWN_MODELS: tuple[KnownModel, ...] = (
    _llava("llava-hf/llava-1.5-7b-hf", "LLaVA-1.5 7B", 7_063_000_000, 14_100_000_000),
    _llava("llava-hf/llava-1.5-13b-hf", "LLaVA-1.5 13B", 13_351_000_000, 26_700_000_000),
    _next_vicuna("llava-hf/llava-v1.6-vicuna-7b-hf", "LLaVA-NeXT vicuna 7B", 7_063_000_000, 14_100_000_000),
    _next_vicuna("llava-hf/llava-v1.6-vicuna-13b-hf", "LLaVA-NeXT vicuna 13B", 13_351_000_000, 26_700_000_000),
    _next_mistral("llava-hf/llava-v1.6-mistral-7b-hf", "LLaVA-NeXT mistral 7B", 7_567_000_000, 15_100_000_000),
    _next_yi("llava-hf/llava-v1.6-34b-hf", "LLaVA-NeXT 34B", 34_753_000_000, 69_500_000_000),
    _onevision("llava-hf/llava-onevision-qwen2-0.5b-ov-hf", "LLaVA-OneVision 0.5B", 893_000_000, 1_800_000_000),
    _onevision("llava-hf/llava-onevision-qwen2-7b-ov-hf", "LLaVA-OneVision 7B", 8_030_000_000, 16_100_000_000),
    _smolvlm_small("HuggingFaceTB/SmolVLM-256M-Instruct", "SmolVLM 256M", 256_485_000, 513_000_000),
    _smolvlm_small("HuggingFaceTB/SmolVLM-500M-Instruct", "SmolVLM 500M", 507_482_000, 1_015_000_000),
    _smolvlm_2b("HuggingFaceTB/SmolVLM-Instruct", "SmolVLM 2B", 2_246_000_000, 4_490_000_000),
    _idefics3("HuggingFaceM4/Idefics3-8B-Llama3", "Idefics3 8B", 8_462_000_000, 16_920_000_000),
    _internvl("OpenGVLab/InternVL3-1B-hf", "InternVL3 1B", 938_000_000, 1_876_000_000),
    _internvl("OpenGVLab/InternVL3-2B-hf", "InternVL3 2B", 2_089_000_000, 4_178_000_000),
    _internvl("OpenGVLab/InternVL3-8B-hf", "InternVL3 8B", 7_944_000_000, 15_890_000_000),
    _qwen2_vl("Qwen/Qwen2-VL-2B-Instruct", "Qwen2-VL 2B", 2_209_000_000, 4_418_000_000),
    _qwen2_vl("Qwen/Qwen2-VL-7B-Instruct", "Qwen2-VL 7B", 8_291_000_000, 16_580_000_000),
    _qwen2_5_vl_3b("Qwen/Qwen2.5-VL-3B-Instruct", "Qwen2.5-VL 3B", 3_755_000_000, 7_510_000_000),
    _qwen2_5_vl("Qwen/Qwen2.5-VL-7B-Instruct", "Qwen2.5-VL 7B", 8_292_000_000, 16_580_000_000),
    _qwen3_vl("Qwen/Qwen3-VL-2B-Instruct", "Qwen3-VL 2B", 2_128_000_000, 4_255_000_000),
    _qwen3_vl("Qwen/Qwen3-VL-4B-Instruct", "Qwen3-VL 4B", 4_438_000_000, 8_876_000_000),
    _qwen3_vl("Qwen/Qwen3-VL-8B-Instruct", "Qwen3-VL 8B", 8_767_000_000, 17_530_000_000),
)


def find_known(model_id: str) -> KnownModel | None:
    """The entry with this id, or None."""
    return next((known for known in KNOWN_MODELS if known.model_id == model_id), None)
