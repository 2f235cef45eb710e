"""Pruned prompts for a vLLM server: the prompt's embeddings, kept visual tokens only, in vLLM's wire format.

    prompt = prompt_embeddings(engine, image, "What color is the ring?", Request(keep_ratio=0.1))
    body = {"model": "…", "prompt_embeds": prompt.encoded(), "max_tokens": 64, "temperature": 0}    # → /v1/completions

The server needs `--enable-prompt-embeds`. vLLM means that flag for trusted callers only: its server decodes tensors
that callers send. So it should listen on loopback, with `adafv serve-vllm-proxy` as its only caller.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from adafv_core.engine import Engine
from adafv_core.engine.batch import build_batch, row_from_template
from adafv_core.engine.gate import Stop
from adafv_core.engine.request import Request
from adafv_core.engine.streaming import now_s
from adafv_core.errors import InputError, ModelError, UnsupportedModelError
from adafv_core.models.prompts import Turn
from adafv_core.types import Selection


@dataclass(frozen=True)
class PrunedPrompt:
    """A prompt whose visual tokens are pruned.

    embeddings: (L', D) input embeddings of the LLM. selection: the tokens kept of the image's n_visual. n_text: text
    tokens of the prompt, the template's included; L' is n_text, the kept tokens and n_newline newline tokens.
    encode_s, select_s: seconds of encoding (0 where the image was cached), and of scoring and selecting.
    """

    embeddings: Tensor
    selection: Selection
    n_visual: int
    n_text: int
    n_newline: int
    encode_s: float
    select_s: float

    def encoded(self) -> str:
        """The embeddings as vLLM reads them: base64 of `torch.save`. Raises ModelError if they are not finite."""
        if not torch.isfinite(self.embeddings).all():  # the server would answer with an empty text
            raise ModelError("The prompt's embeddings are not finite, so no answer can follow: load another dtype.")
        buffer = io.BytesIO()
        # A view would be saved with its whole storage.
        torch.save(self.embeddings.detach().cpu().contiguous().clone(), buffer)
        return base64.b64encode(buffer.getvalue()).decode("ascii")


def check_servable(engine: Engine) -> None:
    """Raise UnsupportedModelError for a model whose pruned prompts vLLM cannot take as embeddings."""
    if "contiguous" not in engine.adapter.POSITIONS:
        raise UnsupportedModelError(
            f"{engine.model_class} gives image tokens positions in time, height and width (M-RoPE), which vLLM does "
            "not take with prompt embeddings: serve it with `adafv page`, or choose a LLaVA-style model."
        )


def check_request(request: Request) -> None:
    """Raise InputError for a request that embeddings alone cannot carry."""
    if request.chooser.inside_llm:
        raise InputError(
            f"{request.method} prunes between the LLM's layers, which a serving engine does not allow from outside: "
            "choose a method that selects before the LLM, such as adafv."
        )
    if request.positions == "original":
        raise InputError("A serving engine numbers the tokens itself: leave positions out, or pass 'contiguous'.")


def prompt_embeddings(
    engine: Engine,
    image: object,
    prompt: str,
    request: Request | None = None,
    history: Sequence[Turn] = (),
    *,
    stop: Stop = None,
) -> PrunedPrompt:
    """Encode, score and select with this engine, and embed what is kept.

    image, prompt, history, stop: as in `Engine.stream`. Raises what `Engine.score` and `Engine.select` raise,
    InputError for a method inside the LLM or for original positions, UnsupportedModelError for a family with M-RoPE.
    """
    request = request or Request()
    check_servable(engine)
    check_request(request)
    scores = engine.score(image, prompt, history, stop=stop)
    began_s = now_s(engine.device)
    selection = request.selections[0] if request.selections else engine.select(scores, request, stop=stop)
    select_s = scores.score_s + now_s(engine.device) - began_s
    tokenized = scores.tokenized or engine.prompter(prompt, history)
    row = row_from_template(engine.adapter, tokenized.ids, [(scores.visual, selection)])
    batch = build_batch(engine.adapter, [row], pad_token_id=0, newline=request.newline)
    ids = batch.arguments["input_ids"][0]
    with engine.gate.turn(stop), torch.no_grad():
        embeddings = engine.adapter.embed(ids).clone()
    features = torch.cat(list(batch.arguments["mm_encoder_outputs"]["image"].pooler_output))
    embeddings[ids == engine.adapter.image_token_id] = features.to(embeddings)
    return PrunedPrompt(embeddings, selection, scores.size, row.n_text, batch.n_newline[0], scores.encode_s, select_s)


def export_language_model(engine: Engine, folder: Path) -> None:
    """Write the LLM of a model, with its tokenizer, as a checkpoint of its own, for a server that needs no images."""
    check_servable(engine)
    config = engine.adapter.text_config
    language_model = AutoModelForCausalLM.from_config(config, dtype=engine.dtype)
    weights = {f"model.{name}": value for name, value in engine.adapter.language_model.state_dict().items()}
    head = engine.model.get_output_embeddings().weight
    language_model.load_state_dict({**weights, "lm_head.weight": head})
    language_model.generation_config = engine.model.generation_config
    language_model.save_pretrained(folder)
    engine.tokenizer.save_pretrained(folder)
