"""From a model id or folder to an adapter: with downloading.py the only file here that reads files or the network.

Weights come from safetensors only, and no code of a repository is ever run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText
from transformers.utils.hub import cached_file

from adafv_core.errors import InputError, ModelError, ModelNotFoundError, UnsupportedModelError
from adafv_core.models import ADAPTERS, Adapter, adapter_for
from adafv_core.models.downloading import Report, download
from adafv_core.models.registry import KNOWN_MODELS, find_known

POCKET = Path(__file__).resolve().parents[2] / "assets" / "pocket"

_FAMILIES = {adapter.model_type: adapter for adapter in ADAPTERS.values()}
_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to run. revision: the commit its files came from, or None for a local folder."""

    adapter: Adapter
    name: str
    revision: str | None
    device: torch.device
    dtype: torch.dtype


def load_model(
    model: str | Path = "pocket",
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    revision: str | None = None,
    attn_implementation: str | None = None,
    progress: Report | None = None,
) -> LoadedModel:
    """Load a stock model and its processor.

    model: "pocket" (the bundled one), a hub id, or a folder. device: "auto" takes CUDA, else MPS, else the
    CPU; with several GPUs the layers are spread over them by accelerate. dtype: "auto" is the checkpoint's
    own on an accelerator and float32 on the CPU. attn_implementation: as in transformers ("sdpa",
    "flash_attention_2", …). progress: told how far the download is, as in `download`; never called where
    nothing is downloaded.

    Raises ModelNotFoundError when there is nothing to load or a download breaks off, UnsupportedModelError when
    no adapter knows its class, InputError for a device, dtype or attention that does not exist here.
    """
    name = str(model)
    source, revision = _source(name, revision)
    place = _device(device)
    with _said_plainly(name):
        config = AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False)
        revision = _commit(source, revision)
    if config.model_type not in _FAMILIES:
        known = ", ".join(ADAPTERS)
        raise UnsupportedModelError(
            f"{name} is a {config.model_type} model; supported are models of the classes {known}, "
            f"for example {KNOWN_MODELS[0].model_id}."
        )
    several = str(device) == "auto" and place.type == "cuda" and torch.cuda.device_count() > 1
    options: dict[str, Any] = {"device_map": "auto"} if several else {}
    if attn_implementation is not None:
        options["attn_implementation"] = attn_implementation
    with _said_plainly(name):
        folder = download(source, revision, progress) if revision is not None else None
        files = source if folder is None else str(folder)
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            files,
            revision=revision,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=_dtype(dtype, place),
            **options,
        )
        processor = load_processor(files, config.model_type, revision)
    loaded.name_or_path = source
    if not several:
        loaded = loaded.to(place)
    _complete(processor, config, name)
    return LoadedModel(
        adapter_for(loaded.eval(), processor),
        name,
        revision,
        place,
        loaded.dtype,
    )


def load_processor(source: str, model_type: str, revision: str | None = None, local_files_only: bool = False) -> Any:
    """The processor of a model, its image side on Pillow, so that pictures do not depend on what is
    installed.
    """
    options: dict[str, Any] = {
        "revision": revision,
        "trust_remote_code": False,
        "local_files_only": local_files_only,
    }
    processor = _FAMILIES[model_type].processor_class.from_pretrained(source, **options)
    processor.image_processor = AutoImageProcessor.from_pretrained(source, backend="pil", **options)
    return processor


def find_processor(model: Any) -> Any | None:
    """The processor of a model someone else loaded, from the files it came from, without the network; else
    None.
    """
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
    """Fill in what old checkpoints leave out of their processor files."""
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
    """The commit a hub id's files come from, so that all of them come from the same; None for a folder."""
    if Path(source).is_dir():
        return None
    file = cached_file(source, "config.json", revision=revision)
    snapshot = Path(str(file)).parent
    return snapshot.name if snapshot.parent.name == "snapshots" else revision


def _device(device: str | torch.device) -> torch.device:
    if str(device) == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        place = torch.device(device)
    except RuntimeError:
        place = torch.device("meta")
    here = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not here.get(place.type, False):
        usable = ", ".join(kind for kind, present in here.items() if present)
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


class _said_plainly:
    """Turns what transformers and the hub client raise while loading into one sentence of our own."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, ModelError | InputError) or not isinstance(error, Exception):
            return
        if isinstance(error, torch.OutOfMemoryError):
            return
        chain = [type(one).__name__ for one in _causes(error)]
        text = " ".join(str(one) for one in _causes(error))
        example = f"try 'pocket', a local folder, or {KNOWN_MODELS[0].model_id!r}"
        first = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        if "attn_implementation" in text or "FlashAttention" in text:
            raise InputError(
                f"That attn_implementation cannot be used for {self.name} here ({first}); leave it out, or try 'sdpa'."
            ) from error
        if isinstance(error, ImportError):
            raise ModelError(f"{self.name} needs a package that is not installed here ({first}).") from error
        if any(name in chain for name in ("RevisionNotFoundError",)):
            message = f"{self.name} has no such revision; leave `revision` out to use its main branch."
        elif any(name in chain for name in ("RepositoryNotFoundError", "HFValidationError", "GatedRepoError")):
            message = f"No model {self.name!r} can be read on the hub (wrong id, private or gated); {example}."
        elif any(name in chain for name in ("ConnectError", "ConnectTimeout", "OfflineModeIsEnabled")) or (
            "LocalEntryNotFoundError" in chain or "couldn't connect" in text or "offline" in text.lower()
        ):
            message = (
                f"{self.name} is not on this machine and the hub cannot be reached; connect to the network "
                "once to fetch it, or name a local folder, or 'pocket'."
            )
        elif ("model type" in text and "does not recognize" in text) or "Unrecognized model" in text:
            raise UnsupportedModelError(
                f"{self.name} is of a type transformers does not know without running its own code, which is "
                f"never done here; supported are {', '.join(ADAPTERS)}."
            ) from error
        else:
            message = f"{self.name} cannot be loaded, a file is missing or unreadable ({first}); {example}."
        raise ModelNotFoundError(message) from error


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in found:
        found.append(current)
        current = current.__cause__ or current.__context__
    return found
