"""Loads a model id or folder as an adapter. Besides download.py, no other file reads models from disk or the network.

Weights come from safetensors only, and no code from a repository is ever run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText

from adafv_core.bundled import ASSETS
from adafv_core.errors import InputError, ModelNotFoundError, UnsupportedModelError
from adafv_core.loading.checksums import check_sums
from adafv_core.loading.download import Report, download
from adafv_core.loading.errors import friendly_load_errors, refuse_broken_template, refuse_missing_weights
from adafv_core.loading.fingerprint import weights_key
from adafv_core.loading.known_models import KNOWN_MODELS, find_known
from adafv_core.loading.quantization import check_quantization, quantization_config
from adafv_core.memory import memory_guard
from adafv_core.models import ADAPTERS, Adapter, adapter_for

POCKET = ASSETS / "pocket"

_FAMILIES = {adapter.model_type: adapter for adapter in ADAPTERS.values()}
_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to run.

    revision: the commit its files came from, or None for a local folder. weights: the `weights_key` of its weights,
    computed before they moved to the device.
    """

    adapter: Adapter
    name: str
    revision: str | None
    device: torch.device
    dtype: torch.dtype
    weights: str


def load_model(
    model: str | Path = "pocket",
    device: str | torch.device | None = "auto",
    dtype: str | torch.dtype = "auto",
    revision: str | None = None,
    attn_implementation: str | None = None,
    progress: Report | None = None,
    quantization: str | None = None,
) -> LoadedModel:
    """Load a stock model and its processor.

    model: "pocket" (the bundled one), a hub id, or a folder. device: "auto" or None takes CUDA, else MPS, else the
    CPU; with several GPUs, accelerate spreads the layers over them. dtype: "auto" is the checkpoint's own on an
    accelerator and float32 on the CPU. revision: a branch, tag or commit of a hub id; by default the pinned one of a
    known model, else the newest. attn_implementation: as in transformers ("sdpa", "flash_attention_2", …). progress:
    receives the progress of a download, as in `download`; never called if nothing is downloaded. quantization: "8bit"
    or "4bit" for the linear layers of the LLM, where bitsandbytes and accelerate are installed; None for none.

    Raises ModelNotFoundError if there is nothing to load, weights are missing or cut off or a download breaks off,
    UnsupportedModelError if no adapter knows the model's class, OutOfMemoryError if it does not fit into the device's
    memory, ModelError for weights that are not those in SHA256SUMS or a chat template that cannot be rendered,
    InputError for a device, dtype, attention implementation or quantization that is not available.
    """
    name = str(model)
    source, revision = _source(name, revision)
    device = "auto" if device is None else device
    place = resolve_device(device)
    check_quantization(quantization, place)
    with friendly_load_errors(name):
        config = AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False)
        revision = _commit(source, revision)
    if config.model_type not in _FAMILIES:
        known = ", ".join(ADAPTERS)
        raise UnsupportedModelError(
            f"{name} is a {config.model_type} model; supported are models of the classes {known}, "
            f"for example {KNOWN_MODELS[0].model_id}."
        )
    options: dict[str, Any] = {"dtype": _dtype(dtype, place)}
    if attn_implementation is not None:
        options["attn_implementation"] = attn_implementation
    several = str(device) == "auto" and place.type == "cuda" and torch.cuda.device_count() > 1
    if several:
        options["device_map"] = "auto"
    if quantization is not None:
        options["quantization_config"] = quantization_config(
            quantization, _FAMILIES[config.model_type], options["dtype"]
        )
        options.setdefault("device_map", {"": str(place)})
    moves = None if "device_map" in options else place
    too_large = "Load a smaller model, or this one quantized, in a smaller dtype or on the CPU."
    with memory_guard(f"what was loaded of {name} was freed. {too_large}"), friendly_load_errors(name, source):
        folder = download(source, revision, progress) if revision is not None else None
        files = source if folder is None else str(folder)
        check_sums(Path(files))
        adapter, weights = _read(files, revision, name, config, moves, options)
    adapter.model.name_or_path = source
    return LoadedModel(adapter, name, revision, place, adapter.model.dtype, weights)


def _read(
    files: str, revision: str | None, name: str, config: Any, place: torch.device | None, options: dict[str, Any]
) -> tuple[Adapter, str]:
    """A complete model, moved to `place` if one is given, and the key of its weights.

    The caller holds no reference to any part of it before this returns, so that all of its memory can be freed when
    the device runs out.
    """
    loaded, found = AutoModelForImageTextToText.from_pretrained(
        files, revision=revision, trust_remote_code=False, use_safetensors=True, output_loading_info=True, **options
    )
    refuse_missing_weights(name, found["missing_keys"])
    processor = load_processor(files, config.model_type, revision)
    _complete(processor, config, name)
    adapter = adapter_for(loaded.eval(), processor)
    refuse_broken_template(name, processor, adapter.image_token_id)
    weights = weights_key(loaded)
    if place is not None:
        loaded.to(place)
    return adapter, weights


def load_processor(source: str, model_type: str, revision: str | None = None, local_files_only: bool = False) -> Any:
    """A model's processor with the Pillow image processor, so that pixels do not depend on installed packages."""
    options: dict[str, Any] = {
        "revision": revision,
        "trust_remote_code": False,
        "local_files_only": local_files_only,
    }
    processor = _FAMILIES[model_type].processor_class.from_pretrained(source, **options)
    processor.image_processor = AutoImageProcessor.from_pretrained(source, backend="pil", **options)
    return processor


def find_processor(model: Any) -> Any | None:
    """The processor for a model loaded by the caller, read from that model's local files; None if there is none."""
    source = str(getattr(model, "name_or_path", "") or "")
    if not source:
        return None
    try:
        processor = load_processor(source, model.config.model_type, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, ImportError):
        return None
    _complete(processor, model.config, source)
    return processor


def _complete(processor: Any, config: Any, name: str) -> None:
    """Fill in values that the processor files of old checkpoints lack."""
    known = find_known(name)
    if known is not None and not processor.chat_template:
        processor.chat_template = known.chat_template
    if getattr(processor, "patch_size", 0) is None:
        processor.patch_size = config.vision_config.patch_size
    if getattr(processor, "vision_feature_select_strategy", 0) is None:
        processor.vision_feature_select_strategy = config.vision_feature_select_strategy
    processor.tokenizer.padding_side = "left"


def _source(name: str, revision: str | None) -> tuple[str, str | None]:
    if name == "pocket":
        name = str(POCKET)
    path = Path(name).expanduser()
    if name.strip() and path.is_dir():
        return str(path), None
    looks_like_path = path.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1
    if looks_like_path:
        raise ModelNotFoundError(
            f"There is no model folder {name!r}; expected 'pocket', a folder with config.json and "
            f"safetensors, or a hub id such as {KNOWN_MODELS[0].model_id!r}."
        )
    known = find_known(name)
    return name, revision or (known.revision if known else None)


def _commit(source: str, revision: str | None) -> str | None:
    """The commit that all files of a hub id are read from; None for a folder."""
    if Path(source).is_dir():
        return None
    snapshot = Path(hf_hub_download(source, "config.json", revision=revision)).parent
    return snapshot.name if snapshot.parent.name == "snapshots" else revision


def resolve_device(device: str | torch.device) -> torch.device:
    """The device that a setting means: "auto" is CUDA, else MPS, else the CPU. Raises InputError for one that is not
    there.
    """
    if str(device) == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        place = torch.device(device)
    except (RuntimeError, TypeError):
        place = torch.device("meta")
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available.get(place.type, False):
        usable = ", ".join(kind for kind, present in available.items() if present)
        raise InputError(f"Expected device 'auto' or one of {usable} on this machine; got {str(device)!r}.")
    return place


def _dtype(dtype: str | torch.dtype, device: torch.device) -> str | torch.dtype:
    if isinstance(dtype, torch.dtype) and dtype.is_floating_point:
        return dtype
    if dtype == "auto":
        return torch.float32 if device.type == "cpu" else "auto"
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise InputError(f"Expected dtype 'auto' or one of {', '.join(_DTYPES)}; got {dtype!r}.")
    return _DTYPES[dtype]
