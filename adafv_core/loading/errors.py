"""What is said where a model does not load: one sentence of our own for whatever transformers, the hub client or the
checkpoint itself has against it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from adafv_core.errors import InputError, ModelError, ModelNotFoundError, PromptError, UnsupportedModelError
from adafv_core.loading.known_models import KNOWN_MODELS
from adafv_core.memory import is_out_of_memory
from adafv_core.models import ADAPTERS
from adafv_core.models.prompts import Prompter

_NEVER_RUN = re.compile(r"vision_tower\.(.*\.)?(post_layernorm|head)\.")
"""Features come from the vision encoder's layers; what stands behind the last of them has no part in an answer."""


def refuse_missing_weights(name: str, missing: Collection[str]) -> None:
    """Raise ModelNotFoundError where a checkpoint lacks weights, which transformers would draw at random.

    missing: names as transformers reports them, those it ties to others or fills in itself left out.
    """
    lacking = sorted(key for key in missing if not _NEVER_RUN.match(key.removeprefix("model.")))
    if lacking:
        shown = ", ".join(lacking[:2]) + (f" and {len(lacking) - 2} more" if len(lacking) > 2 else "")
        raise ModelNotFoundError(
            f"{name} is incomplete, its files lack the weights {shown}: fetch them anew, or check that config.json "
            "belongs to them."
        )


def refuse_broken_template(name: str, processor: Any, image_token_id: int) -> None:
    """Raise ModelError where no prompt can be made with the chat template a model came with."""
    try:
        Prompter(processor, image_token_id)("What is this?")
    except PromptError as error:
        raise ModelError(f"{name} cannot be asked anything: {error}") from error


class said_plainly:
    """Turns what transformers and the hub client raise while loading into one sentence of our own."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, Exception) or isinstance(error, ModelError | InputError) or is_out_of_memory(error):
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
