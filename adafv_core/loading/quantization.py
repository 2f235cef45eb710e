"""Loading the LLM of a model in 8 or 4 bits, with bitsandbytes (LLM.int8(), arXiv 2208.07339; NF4, arXiv 2305.14314).

Only the linear layers of the LLM are quantized (of a mixture of experts those around the experts). Vision encoder,
projector, input embeddings and output head stay as they are, so scores and selections are exactly those of the whole
model; what changes is the LLM that reads the kept tokens.
"""

from __future__ import annotations

import importlib.util
import logging
from typing import Any

import torch
from transformers import BitsAndBytesConfig

from adafv_core.checks import check_choice
from adafv_core.errors import InputError
from adafv_core.models import Adapter

QUANTIZATIONS = ("8bit", "4bit")
_PACKAGES = ("bitsandbytes", "accelerate")
_DEVICES = ("cuda", "cpu")


def check_quantization(quantization: str | None, device: torch.device) -> None:
    """Raise UnknownNameError for a name that does not exist, InputError where this device or installation lacks it."""
    if quantization is None:
        return
    check_choice("quantization", quantization, QUANTIZATIONS)
    if device.type not in _DEVICES:
        raise InputError(
            f"quantization={quantization!r} runs on {' and '.join(_DEVICES)}; got the device {device}. "
            "Leave quantization out, or load on another device."
        )
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"quantization={quantization!r} needs {' and '.join(missing)}; run: pip install {' '.join(missing)}"
        )


def quantization_config(quantization: str, family: type[Adapter], dtype: str | torch.dtype) -> Any:
    """The `quantization_config` of `from_pretrained` for a checked name.

    family: names the modules that stay. dtype: of the layers that stay, in which 4-bit layers multiply too ("auto":
    bfloat16).
    """
    # It says for every layer and token that activations are rounded to 16 bits, which is what was asked for.
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    stay = [f"model.{family.TOWER}", f"model.{family.PROJECTOR.split('.')[0]}", "lm_head"]
    return BitsAndBytesConfig(
        load_in_8bit=quantization == "8bit",
        load_in_4bit=quantization == "4bit",
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.bfloat16 if dtype == "auto" else dtype,
        llm_int8_skip_modules=stay,
    )
