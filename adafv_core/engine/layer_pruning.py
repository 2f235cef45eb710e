"""Drop visual tokens between two layers of the LLM, by hooks on a stock model.

Layers before `layer` see every token. In layer `layer` − 1 the attention row of the last prompt token is
computed beside the model's own attention, from the same queries and keys. From `layer` on, dropped tokens
are gone: hidden states, rotary embeddings (positions are kept) and masks are narrowed on the way into each
layer, and its part of the KV cache never holds them. Every layer keeps the attention backend it was loaded
with.

The hooks act on the forward calls of their own run alone: other threads, calls from within the run's own callbacks,
and the second forward call of classifier-free guidance pass untouched.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.masking_utils import create_causal_mask

from adafv_core.errors import InputError, UnsupportedModelError
from adafv_core.grid import kept_places, stock_positions
from adafv_core.models.base import Adapter
from adafv_core.types import Row, Selection, VisualTokens

ONE_PREFILL = "Pruning inside the LLM needs the whole prompt in one prefill; leave chunking out."
Choose = Callable[[Tensor, VisualTokens, int, int], Selection]
"""From the attention (H, N) of the last prompt token, the image it looks at, the row's number and the image's number in
the row, to what stays.
"""


class LayerPruning:
    """What was decided during the prefill. selections: one tuple a row, one selection an image in it."""

    def __init__(
        self,
        adapter: Adapter,
        rows: Sequence[Row],
        choose: Choose,
        layer: int,
        newline: str,
        encoded: Any,
    ) -> None:
        self.adapter, self.rows, self.choose, self.layer, self.newline = adapter, rows, choose, layer, newline
        self.selections: list[tuple[Selection, ...]] = []
        self.n_newline: list[int] = []
        self.lengths: list[int] = []
        self.prompt_length = max(row.ids.numel() for row in rows)
        self.queries: Tensor | None = None
        self.keys: Tensor | None = None
        self.stays: Tensor | None = None
        self.valid: Tensor | None = None
        self.mask: Any = None
        self._encoded = encoded
        self._storages = {one.untyped_storage().data_ptr() for one in encoded.pooler_output} if encoded else set()
        self._cache: Any = None
        self._forward = threading.local()

    @property
    def active(self) -> bool:
        """Whether this thread is inside a forward call of the run that is pruned."""
        return bool(getattr(self._forward, "ours", False))

    def enter(self, kwargs: dict[str, Any]) -> None:
        """On every forward call of the model: it is of this run if it brings the run's features, or the cache that was
        filled with them.
        """
        image = (kwargs.get("mm_encoder_outputs") or {}).get("image")
        cache = kwargs.get("past_key_values")
        # Beam search may copy the tensors inside, accelerate's hooks may copy the object around them.
        ours = image is not None and (
            image is self._encoded or image.pooler_output[0].untyped_storage().data_ptr() in self._storages
        )
        if ours:
            self._cache = cache
        self._forward.ours = ours or (cache is not None and cache is self._cache)

    def leave(self) -> None:
        """After every forward call of the model, also one that fails."""
        self._forward.ours = False

    def after_attention(self, module: Any, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        """On the attention of layer − 1: rank the visual tokens, once, at the end of the prefill's layer −
        1.
        """
        queries, keys = self.queries, self.keys
        self.queries = self.keys = None
        if self.stays is not None:
            return
        assert queries is not None and keys is not None
        if keys.shape[1] != self.prompt_length:
            raise InputError(ONE_PREFILL)
        probabilities = _last_row(module, queries, keys, kwargs["position_embeddings"], self._real(keys))
        self._decide(probabilities)

    def _real(self, like: Tensor) -> Tensor:
        """(B, L) bool: which positions of the left-padded prompts are tokens, beams of one prompt side by
        side.
        """
        lengths = torch.tensor([row.ids.numel() for row in self.rows], device=like.device)
        real = torch.arange(self.prompt_length, device=like.device) >= (self.prompt_length - lengths)[:, None]
        return real.repeat_interleave(like.shape[0] // len(self.rows), dim=0)

    def _decide(self, probabilities: Tensor) -> None:
        beams = probabilities.shape[0] // len(self.rows)
        kept = []
        for number, row in enumerate(self.rows):
            shift = self.prompt_length - row.ids.numel()
            stays = torch.ones(row.ids.numel(), dtype=torch.bool)
            chosen, newlines = [], 0
            for place, image in enumerate(row.images):
                tokens, _ = stock_positions(image.visual.size, image.visual.newline_after)
                at = (shift + image.places[tokens]).to(probabilities.device)
                selection = self.choose(probabilities[number * beams, :, at], image.visual, number, place)
                places, count = kept_places(image.visual, selection, self.newline)
                stays[image.places] = False
                stays[image.places[places]] = True
                chosen.append(selection)
                newlines += count
            kept.append(shift + stays.nonzero()[:, 0])
            self.selections.append(tuple(chosen))
            self.n_newline.append(newlines)
        self.lengths = [one.numel() for one in kept]
        longest = max(self.lengths)
        padded = torch.stack([functional.pad(one, (longest - one.numel(), 0)) for one in kept])
        valid = torch.stack([functional.pad(torch.ones_like(one).bool(), (longest - one.numel(), 0)) for one in kept])
        self.stays = padded.repeat_interleave(beams, dim=0).to(probabilities.device)
        self.valid = valid.repeat_interleave(beams, dim=0).to(probabilities.device)

    def before_layer(self, index: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """On every layer from `layer` on: narrow what goes in, or (while decoding) the mask alone."""
        hidden: Tensor = args[0]
        cache = kwargs.get("past_key_values")
        if getattr(cache, "is_compileable", False):
            raise InputError("Pruning inside the LLM needs a cache that grows; leave cache_implementation out.")
        first = index == self.layer
        assert self.stays is not None and self.valid is not None
        seen = cache.get_seq_length(index) if cache is not None else 0
        if seen == 0:
            stays, valid = self._extended(kwargs["position_embeddings"][0].shape[1])
            stays, valid = stays.to(hidden.device), valid.to(hidden.device)
            if first:
                hidden = hidden.gather(1, stays[..., None].expand(-1, -1, hidden.shape[-1]))
                self.mask = self._causal(hidden, valid, None)
            kwargs = {**kwargs, "position_embeddings": _narrow(kwargs["position_embeddings"], stays)}
            if kwargs.get("position_ids") is not None:
                positions = kwargs["position_ids"].expand(stays.shape[0], -1)
                kwargs["position_ids"] = positions.gather(1, stays.to(positions.device))
        elif first:
            new = seen + hidden.shape[1] - self.valid.shape[1]
            valid = functional.pad(self.valid.to(hidden.device), (0, new), value=True)
            self.mask = self._causal(hidden, valid, cache)
        mask = self.mask.to(hidden.device) if isinstance(self.mask, Tensor) else self.mask
        return (hidden, *args[1:]), {**kwargs, "attention_mask": mask}

    def _extended(self, length: int) -> tuple[Tensor, Tensor]:
        """Kept positions among `length`: those of the prompt, and everything after it (a run without a
        cache).
        """
        assert self.stays is not None and self.valid is not None
        new = torch.arange(self.prompt_length, length, device=self.stays.device).expand(self.stays.shape[0], -1)
        return torch.cat((self.stays, new), dim=1), functional.pad(self.valid, (0, new.shape[1]), value=True)

    def _causal(self, hidden: Tensor, valid: Tensor, cache: Any) -> Any:
        return create_causal_mask(
            config=self.adapter.language_model.config,
            inputs_embeds=hidden,
            attention_mask=None if bool(valid.all()) else valid,
            past_key_values=cache,
            layer_idx=self.layer,
        )


@contextmanager
def prune_inside(
    adapter: Adapter,
    rows: Sequence[Row],
    choose: Choose,
    layer: int,
    newline: str = "drop",
    encoded: Any = None,
) -> Iterator[LayerPruning]:
    """Hooks for one `generate` call over these rows, given whole (nothing dropped before the LLM).

    encoded: the encoder output that the call is given, by which its forward calls are recognized.
    layer: the first layer (from 0) that sees only what `choose` keeps. All hooks are removed on the way out.
    Raises InputError where the LLM has no such layer, UnsupportedModelError for sliding-window attention.
    """
    layers = adapter.language_model.layers
    if not 1 <= layer <= len(layers):
        raise InputError(f"layer must be between 1 and the {len(layers)} layers of the LLM; got {layer}.")
    if getattr(adapter.text_config, "sliding_window", None) is not None:
        raise UnsupportedModelError(
            "Pruning inside the LLM needs full attention in every layer; this LLM has a sliding window of "
            f"{adapter.text_config.sliding_window}."
        )
    deepstack = max((_n_layer_features(row) for row in rows), default=0)
    if layer < deepstack:
        raise InputError(
            f"layer must be at least {deepstack} for this model: its LLM layers 0 to {deepstack - 1} add features at "
            f"every image token (DeepStack); got {layer}."
        )
    state = LayerPruning(adapter, rows, choose, layer, newline, encoded)
    attention = layers[layer - 1].self_attn

    # Another thread may run through these modules while the hooks are taken away again; torch then calls a hook without
    # the keyword arguments it asked for. Such a call is not of this run, so every hook takes either form.
    def on_enter(module: nn.Module, args: Any, kwargs: dict[str, Any] | None = None) -> None:
        state.enter(kwargs or {})

    def on_leave(module: nn.Module, args: Any, output: Any) -> None:
        state.leave()

    def on_queries(module: nn.Module, args: Any, output: Tensor) -> None:
        if state.active:
            state.queries = output[:, -1:].detach()

    def on_keys(module: nn.Module, args: Any, output: Tensor) -> None:
        if state.active:
            state.keys = output.detach()

    def on_attention(module: nn.Module, args: Any, kwargs: Any, output: Any = None) -> None:
        if state.active:
            state.after_attention(module, args, kwargs, output)

    def narrowing(index: int) -> Callable[..., Any]:
        def on_layer(module: nn.Module, args: Any, kwargs: dict[str, Any] | None = None) -> Any:
            return state.before_layer(index, args, kwargs) if state.active and kwargs is not None else None

        return on_layer

    handles = [
        adapter.model.register_forward_pre_hook(on_enter, with_kwargs=True),
        adapter.model.register_forward_hook(on_leave, always_call=True),
        attention.q_proj.register_forward_hook(on_queries),
        attention.k_proj.register_forward_hook(on_keys),
        attention.register_forward_hook(on_attention, with_kwargs=True),
    ]
    handles += [
        layers[index].register_forward_pre_hook(narrowing(index), with_kwargs=True)
        for index in range(layer, len(layers))
    ]
    try:
        yield state
    finally:
        for handle in handles:
            handle.remove()


def _n_layer_features(row: Row) -> int:
    """How many LLM layers add features at the image tokens of a row."""
    return max(
        (len(image.visual.layer_features) for image in row.images if image.visual.layer_features is not None), default=0
    )


def _last_row(attention: Any, queries: Tensor, keys: Tensor, rotary: tuple[Tensor, Tensor], real: Tensor) -> Tensor:
    """(B, H, L) float32: attention probabilities of the last position, as the layer itself computes them.

    queries: (B, 1, H·d) and keys: (B, L, G·d), as projected. real: (B, L) bool, False on padding.
    """
    query, key = (states.reshape(*states.shape[:2], -1, attention.head_dim) for states in (queries, keys))
    if hasattr(attention, "q_norm"):  # Qwen3 normalizes each head before it rotates it.
        query, key = attention.q_norm(query), attention.k_norm(key)
    query, key = query.transpose(1, 2), key.transpose(1, 2)
    cos, sin = (part[:, None].to(key.device) for part in rotary)
    query = _rotated(query, cos[:, :, -1:], sin[:, :, -1:])
    key = _rotated(key, cos, sin).repeat_interleave(query.shape[1] // key.shape[1], dim=1)
    logits = (query.float() @ key.float().transpose(-1, -2))[:, :, 0] * attention.scaling
    probabilities: Tensor = logits.masked_fill(~real[:, None], float("-inf")).softmax(-1)
    return probabilities


def _rotated(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding, halves convention (Llama, Mistral, Qwen2)."""
    first, second = states.chunk(2, dim=-1)
    return states * cos + torch.cat((-second, first), dim=-1) * sin


def _narrow(rotary: tuple[Tensor, Tensor], stays: Tensor) -> tuple[Tensor, Tensor]:
    cos, sin = (
        part.expand(stays.shape[0], -1, -1).gather(1, stays.to(part.device)[..., None].expand(-1, -1, part.shape[-1]))
        for part in rotary
    )
    return cos, sin
