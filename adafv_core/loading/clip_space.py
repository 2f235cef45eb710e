"""CLIP's joint space of images and text, for methods that score visual tokens in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoTokenizer, CLIPModel

from adafv_core.errors import InputError, UnsupportedModelError
from adafv_core.loading.errors import friendly_load_errors
from adafv_core.memory import memory_guard


@dataclass(frozen=True, eq=False)
class LoadedCLIP:
    """A stock `CLIPModel` and its tokenizer."""

    model: Any
    tokenizer: Any

    @torch.no_grad()
    def cosines(self, vision_features: Tensor, question: str) -> Tensor:
        """Cosines in CLIP's space between a question and encoder features (CDPruner, arXiv 2506.10967).

        vision_features: (N, Dv) float features of a layer of CLIP's own vision tower, which then pass through its final
        layer norm and projection. question: split into segments of at most as many tokens as the text tower accepts
        (77, begin and end tokens included). Returns (S, N) float32, one row per segment. Raises InputError if Dv is
        not this CLIP model's width.
        """
        width = self.model.config.vision_config.hidden_size
        if vision_features.shape[-1] != width:
            raise InputError(
                f"This CLIP model's vision features have {width} dimensions, the image's have "
                f"{vision_features.shape[-1]}: load the CLIP model that the vision tower came from."
            )
        norm, projection = self.model.vision_model.post_layernorm, self.model.visual_projection
        features = vision_features.to(projection.weight.device, projection.weight.dtype)
        image = functional.normalize(projection(norm(features)).float(), dim=-1)
        ids = self._segments(question).to(projection.weight.device)
        mask = ids != -1
        inputs = {"input_ids": ids.masked_fill(~mask, self.tokenizer.eos_token_id), "attention_mask": mask.long()}
        pooled = self.model.get_text_features(**inputs).pooler_output
        text = functional.normalize(pooled.float(), dim=-1)
        return (text @ image.T).to(vision_features.device)

    def _segments(self, question: str) -> Tensor:
        """(S, L) int64 token ids, right-padded with -1."""
        longest = self.model.config.text_config.max_position_embeddings - 2
        words = self.tokenizer(question, add_special_tokens=False)["input_ids"]
        begin, end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        segments = [words[start : start + longest] for start in range(0, max(1, len(words)), longest)]
        rows = [torch.tensor([begin, *segment, end]) for segment in segments]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)


def load_clip_space(
    model: str | Path = "openai/clip-vit-large-patch14-336",
    device: str | torch.device = "cpu",
    revision: str | None = None,
) -> LoadedCLIP:
    """Load a CLIP model with its text tower, which LLaVA checkpoints lack.

    model: a hub id or a folder with config.json, safetensors and tokenizer files. It must be the CLIP model that the
    vision tower came from. Raises ModelNotFoundError, UnsupportedModelError or OutOfMemoryError.
    """
    name = str(model)
    with friendly_load_errors(name), memory_guard("load a smaller model, or choose another device."):
        clip = CLIPModel.from_pretrained(name, revision=revision, use_safetensors=True)
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=False)
    if getattr(clip.config, "model_type", "") != "clip":
        raise UnsupportedModelError(f"{name} is not a CLIP model; its type is {clip.config.model_type!r}.")
    return LoadedCLIP(clip.to(device).eval(), tokenizer)
