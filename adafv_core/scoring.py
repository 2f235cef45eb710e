"""Text-to-image attention and visual saliency from plain tensors (sections 1 and 2), in float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from adafv_core.checks import check_choice, check_temperature
from adafv_core.errors import InputError, ScoreError
from adafv_core.types import TokenScores, VisualTokens, check_finite, inverse_norms

TEXT_TOKENS = ("question", "all")
_BLOCK = 192
"""Visual tokens that are converted to float32 at a time: at D = 4,096 three megabytes, which stay in the cache."""


def word_attention(text_tokens: Tensor, visual_tokens: Tensor, temperature: float = 100.0) -> Tensor:
    """A[j, i] of section 1: for each text token a softmax of γ · cosine over all visual tokens.

    text_tokens: (T, D) or (B, T, D), input embeddings of the LLM. visual_tokens: (N, D) or (B, N, D),
    projected. Any floating dtype; computed in float32. Returns (T, N) or (B, T, N) float32, rows summing to
    1; all-zero vectors have cosine 0. Raises ScoreError on wrong shapes or values that are NaN or infinite,
    InputError on a temperature that is not above 0.
    """
    temperature = check_temperature(temperature)
    _check_tokens(text_tokens, visual_tokens)
    for name, tokens in (("text_tokens", text_tokens), ("visual_tokens", visual_tokens)):
        check_finite(name, tokens)
    return _attended(text_tokens, visual_tokens, inverse_norms(visual_tokens), temperature)


def _attended(text_tokens: Tensor, visual_tokens: Tensor, inverse: Tensor, temperature: float) -> Tensor:
    """`word_attention` without checks, for visual tokens whose (…, N) `inverse_norms` are known.

    γ and the words' norms are folded into the few words, the visual tokens' norms into the product, and visual tokens
    of another dtype are converted a block at a time, so that nothing of the size of all of them is written.
    """
    with torch.autocast(visual_tokens.device.type, enabled=False):
        words = functional.normalize(text_tokens.detach().float(), dim=-1) * temperature
        tokens = visual_tokens.detach()
        step = tokens.shape[-2] if tokens.dtype == torch.float32 else _BLOCK
        blocks = [words @ block.float().transpose(-1, -2) for block in torch.split(tokens, step, dim=-2)]
        products = blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=-1)
        return products.mul_(inverse.unsqueeze(-2)).softmax(dim=-1)


def t2i_attention(
    text_tokens: Tensor,
    visual_tokens: Tensor,
    temperature: float = 100.0,
    text_mask: Tensor | None = None,
) -> Tensor:
    """a_i of section 1: the largest attention that any counted text token pays to visual token i.

    text_tokens: (T, D) or (B, T, D). visual_tokens: (N, D) or (B, N, D). text_mask: (T,) or (B, T) bool, the
    text tokens that count (all, if None). Returns (N,) or (B, N) float32. Raises like `word_attention`, and
    ScoreError if the mask has another shape or is all False.
    """
    return most_attended(word_attention(text_tokens, visual_tokens, temperature), text_mask)


def most_attended(word_t2i: Tensor, text_mask: Tensor | None = None) -> Tensor:
    """The maximum over counted words of (T, N) or (B, T, N) attention: (N,) or (B, N)."""
    if text_mask is None:
        return word_t2i.amax(dim=-2)
    shape = word_t2i.shape[:-1]
    if not isinstance(text_mask, Tensor) or text_mask.dtype != torch.bool or text_mask.shape != shape:
        tensor = isinstance(text_mask, Tensor)
        came = f"{text_mask.dtype} {tuple(text_mask.shape)}" if tensor else type(text_mask).__name__
        raise ScoreError(f"The text mask must be a bool tensor of shape {tuple(shape)}; got {came}.")
    if not bool(text_mask.any(dim=-1).all()):
        raise ScoreError("No text token counts: the mask needs at least one True for each prompt.")
    return word_t2i.masked_fill(~text_mask.to(word_t2i.device).unsqueeze(-1), 0.0).amax(dim=-2)


def score_tokens(
    visual: VisualTokens,
    text_tokens: Tensor,
    words: Sequence[str],
    counted: Sequence[bool],
    prompt: str,
    temperature: float = 100.0,
    history: Sequence[tuple[str, str]] = (),
) -> TokenScores:
    """T2I attention and saliency of one image for T text tokens (T, D); t2i is the maximum over the counted ones."""
    features = visual.required("features", "Scoring")
    temperature, words = check_temperature(temperature), tuple(words)
    text_tokens = text_tokens.to(features.device)
    _check_tokens(text_tokens, features)
    if len(counted) != len(words) or len(words) != text_tokens.shape[0] or not any(counted):
        raise ScoreError(
            f"Expected a word and a flag for each of {text_tokens.shape[0]} text tokens, at least one of them true; "
            f"got {len(words)} words and {sum(map(bool, counted))} true of {len(counted)} flags."
        )
    if text_tokens.device.type == "cpu":
        check_finite("text_tokens", text_tokens)  # on an accelerator it would wait for the device; `select` checks
    mask = torch.tensor(list(counted), dtype=torch.bool, device=features.device)
    word_t2i = _attended(text_tokens, features, visual.inverse_norms, temperature)
    return TokenScores(
        t2i=word_t2i.masked_fill(~mask.unsqueeze(-1), 0.0).amax(dim=0),
        saliency=visual.saliency,
        words=words,
        word_t2i=word_t2i,
        counted=mask,
        text_tokens=text_tokens,
        visual=visual,
        prompt=prompt,
        temperature=temperature,
        history=tuple(history),
    )


def unscored(visual: VisualTokens) -> TokenScores:
    """Scores without text (t2i all 0), for methods that do not read T2I attention (`Method.reads_t2i` is false)."""
    word_t2i = visual.saliency.new_zeros(0, visual.size)
    counted = torch.zeros(0, dtype=torch.bool, device=word_t2i.device)
    t2i = torch.zeros_like(visual.saliency)
    return TokenScores(t2i, visual.saliency, (), word_t2i, counted, None, visual, "")


def rescored_t2i(scores: TokenScores, temperature: float = 100.0, text_tokens: str = "question") -> Tensor:
    """(N,) float32 T2I attention of scored tokens for a different temperature or choice of text tokens.

    text_tokens: "question" (the words counted when scored) or "all" (every text token after the image). Scores are
    reused if possible; only a changed temperature needs the embeddings. Raises InputError if the scores lack them, as
    those of a saved run do.
    """
    check_choice("text_tokens", text_tokens, TEXT_TOKENS)
    if text_tokens == "question" and scores.counting == "all":
        raise InputError(
            'These scores count all text tokens and no longer know the question\'s own: use text_tokens="all".'
        )
    if temperature == scores.temperature:
        return scores.t2i if text_tokens == "question" else most_attended(scores.word_t2i)
    counted = scores.counted if text_tokens == "question" else None
    return most_attended(_word_attention_at(scores, temperature), counted)


def rescored(scores: TokenScores, temperature: float | None = None, text_tokens: str = "question") -> TokenScores:
    """The scores that a method with these options ranks by: t2i, word_t2i, counted and temperature are replaced.

    temperature: None keeps the current one. text_tokens: as in `rescored_t2i`; "all" counts every word.
    """
    gamma = scores.temperature if temperature is None else temperature
    return replace(
        scores,
        t2i=rescored_t2i(scores, gamma, text_tokens),
        word_t2i=_word_attention_at(scores, gamma),
        counted=scores.counted if text_tokens == "question" else torch.ones_like(scores.counted),
        temperature=gamma,
        counting=text_tokens,
    )


def _word_attention_at(scores: TokenScores, temperature: float) -> Tensor:
    """(T, N) `word_attention` at this temperature; needs the embeddings only if it differs from that of the scores."""
    if temperature == scores.temperature:
        return scores.word_t2i
    change = f"Changing the temperature from {scores.temperature:g} to {temperature:g}"
    return word_attention(*scores.embeddings(change), temperature)


def saliency_of(queries: Tensor, keys: Tensor, has_cls: bool, scale: float | None = None) -> Tensor:
    """(crops, P) float32, c_i of section 2: the [CLS] row, or the mean attention received if there is no [CLS] token.

    queries, keys: (crops, heads, P', d) of one layer, [CLS] first if the encoder has one (P' = P + 1). scale: as in
    `cls_saliency`.
    """
    if has_cls:
        return cls_saliency(queries[:, :, 0], keys, scale)
    # Block size is limited so that attention over many patches needs only some ten megabytes per head.
    return received_saliency(queries, keys, scale, block=max(1, min(256, 2**20 // keys.shape[2])))


def cls_saliency(query: Tensor, key: Tensor, scale: float | None = None, cls_index: int = 0) -> Tensor:
    """c of section 2: attention from [CLS] to each patch, mean over heads; no other row is computed.

    query: (B, H, d), the [CLS] query of each crop. key: (B, H, L, d), the keys of all positions, [CLS]
    included. scale: multiplies the dot products, d^−½ if None. The softmax runs over all L positions; then the [CLS]
    column is removed. Returns (B, L − 1) float32. Raises ScoreError on wrong shapes.
    """
    if key.dim() != 4 or query.shape != (*key.shape[:2], key.shape[3]):
        raise ScoreError(
            "The [CLS] query must have shape (B, H, d) and the keys (B, H, L, d); "
            f"got {tuple(query.shape)} and {tuple(key.shape)}."
        )
    row = _attention(query.unsqueeze(2), key, scale).squeeze(2).mean(dim=1)
    return torch.cat((row[:, :cls_index], row[:, cls_index + 1 :]), dim=1)


def received_saliency(query: Tensor, key: Tensor, scale: float | None = None, block: int = 256) -> Tensor:
    """c for encoders without [CLS] (SigLIP): the attention each patch receives, mean over queries and heads.

    query, key: (B, H, L, d). Computed for `block` queries at a time, so memory is O(B · H · block · L).
    Returns (B, L) float32 that sums to 1. Raises ScoreError on wrong shapes.
    """
    if key.dim() != 4 or query.shape != key.shape:
        raise ScoreError(
            f"Queries and keys must both have shape (B, H, L, d); got {tuple(query.shape)} and {tuple(key.shape)}."
        )
    received = torch.zeros((key.shape[0], key.shape[2]), dtype=torch.float32, device=key.device)
    for start in range(0, key.shape[2], block):
        received += _attention(query[:, :, start : start + block], key, scale).sum(dim=2).mean(dim=1)
    return received / key.shape[2]


def _attention(query: Tensor, key: Tensor, scale: float | None) -> Tensor:
    with torch.autocast(key.device.type, enabled=False):
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        logits = (query.detach().float() * scale) @ key.detach().float().transpose(-1, -2)
        return logits.softmax(dim=-1)


def _check_tokens(text_tokens: Tensor, visual_tokens: Tensor) -> None:
    for name, tokens in (("text_tokens", text_tokens), ("visual_tokens", visual_tokens)):
        if not isinstance(tokens, Tensor) or not tokens.is_floating_point():
            raise ScoreError(f"{name} must be a floating point tensor; got {type(tokens).__name__}.")
        if tokens.dim() not in (2, 3) or 0 in tokens.shape:
            raise ScoreError(
                f"{name} must have shape (tokens, D) or (B, tokens, D), none of them 0; got {tuple(tokens.shape)}."
            )
    text, image = text_tokens.shape, visual_tokens.shape
    if len(text) != len(image) or text[-1] != image[-1] or text[:-2] != image[:-2]:
        raise ScoreError(
            "text_tokens (T, D) and visual_tokens (N, D) must agree in D, and in B where batched; "
            f"got {tuple(text)} and {tuple(image)}."
        )
