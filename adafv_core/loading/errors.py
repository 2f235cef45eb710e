"""Maps loading errors from transformers, the hub client and checkpoints to one-sentence `ModelError`s."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub.errors import (  # type: ignore[attr-defined] # HTTPError is that of the HTTP client in use
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors import SafetensorError

from adafv_core.errors import InputError, ModelError, ModelNotFoundError, PromptError, UnsupportedModelError
from adafv_core.loading.checksums import unreadable_weights
from adafv_core.loading.known_models import KNOWN_MODELS
from adafv_core.memory import is_out_of_memory
from adafv_core.models import ADAPTERS
from adafv_core.models.prompts import Prompter

_NEVER_RUN = re.compile(r"vision_tower\.(.*\.)?(post_layernorm|head)\.")
"""Features come from the layers of the vision encoder; modules after the last of them contribute to no answer."""


def refuse_missing_weights(name: str, missing: Collection[str]) -> None:
    """Raise ModelNotFoundError if a checkpoint lacks weights, which transformers would initialize at random.

    missing: names as transformers reports them, without weights that it ties or fills in itself.
    """
    lacking = sorted(key for key in missing if not _NEVER_RUN.match(key.removeprefix("model.")))
    if lacking:
        shown = ", ".join(lacking[:2]) + (f" and {len(lacking) - 2} more" if len(lacking) > 2 else "")
        raise ModelNotFoundError(
            f"{name} is incomplete, its files lack the weights {shown}: fetch them again, or check that config.json "
            "belongs to them."
        )


def refuse_broken_template(name: str, processor: Any, image_token_id: int) -> None:
    """Raise ModelError if no prompt can be built with a model's chat template."""
    try:
        Prompter(processor, image_token_id)("What is this?")
    except PromptError as error:
        raise ModelError(f"{name} cannot be asked anything: {error}") from error


@contextmanager
def friendly_load_errors(name: str, source: str = "") -> Iterator[None]:
    """Within the block, errors of transformers and the hub client become one sentence about the model `name`.

    source: its folder or hub id; a weights file there that cannot be read is named.
    """
    try:
        yield
    except (ModelError, InputError):
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        damaged = unreadable_weights(Path(source)) if source and isinstance(error, SafetensorError) else None
        if damaged is not None:
            raise ModelNotFoundError(
                f"{name} cannot be loaded, its file {damaged.name} is missing or unreadable (truncated, or no "
                "safetensors file): fetch it again."
            ) from error
        raise _in_one_sentence(name, error) from error


def _in_one_sentence(name: str, error: Exception) -> ModelError | InputError:
    chain = _causes(error)
    text = " ".join(str(one) for one in chain)
    first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    example = f"try 'pocket', a local folder, or {KNOWN_MODELS[0].model_id!r}"

    def caused_by(*kinds: type[BaseException]) -> bool:
        return any(isinstance(one, kinds) for one in chain)

    # A broken connection is an HTTPError without a response; the hub's own errors carry one.
    no_connection = any(isinstance(one, HTTPError) and not isinstance(one, HfHubHTTPError) for one in chain)
    offline = no_connection or "couldn't connect" in text or "offline" in text.lower()
    if "attn_implementation" in text or "FlashAttention" in text:
        return InputError(f"That attn_implementation cannot be used for {name} ({first}); leave it out, or try 'sdpa'.")
    if isinstance(error, ImportError):
        return ModelError(f"{name} needs a package that is not installed ({first}).")
    if caused_by(RevisionNotFoundError):
        return ModelNotFoundError(f"{name} has no such revision; leave `revision` out to use its main branch.")
    if caused_by(RepositoryNotFoundError, HFValidationError):
        return ModelNotFoundError(f"No model {name!r} can be read on the hub (wrong id, private or gated); {example}.")
    if offline or caused_by(OfflineModeIsEnabled, LocalEntryNotFoundError):
        return ModelNotFoundError(
            f"{name} is not on this machine and the hub cannot be reached; connect to the network once to fetch it, "
            "or name a local folder, or 'pocket'."
        )
    if ("model type" in text and "does not recognize" in text) or "Unrecognized model" in text:
        return UnsupportedModelError(
            f"{name} is of a type that transformers does not know without running the model's own code, which is never "
            f"done; supported are {', '.join(ADAPTERS)}."
        )
    return ModelNotFoundError(f"{name} cannot be loaded, a file is missing or unreadable ({first}); {example}.")


def _causes(error: BaseException) -> list[BaseException]:
    """An error and everything it was raised from or during."""
    found: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in found:
        found.append(current)
        current = current.__cause__ or current.__context__
    return found
