"""Drop visual tokens between layers of the LLM, by hooks on a stock model.

A method drops at one or several stages. Layers before the first stage see every token. In the layer before a stage the
attention rows of the tokens that rate are computed beside the model's own attention, from the same queries and keys:
R rows, never L × L. From the stage's layer on, dropped tokens are gone: hidden states, rotary embeddings and masks are
narrowed on the way into each layer, and its part of the KV cache never holds them. Position ids of what is left are the
original ones, or contiguous. Every layer keeps the attention backend it was loaded with.

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

from adafv_core.engine.layer_rows import PrunedRow, raters_of
from adafv_core.errors import InputError, UnsupportedModelError
from adafv_core.methods.inside import InsideMethod
from adafv_core.models.base import Adapter
from adafv_core.types import Row, Selection

ONE_PREFILL = "Pruning inside the LLM needs the whole prompt in one prefill; leave chunking out."


class LayerPruning:
    """One run: what each stage decided during the prefill, and how its layers' inputs are narrowed."""

    def __init__(
        self,
        adapter: Adapter,
        rows: Sequence[Row],
        method: InsideMethod,
        budgets_of: Callable[[Row], Sequence[int]],
        newline: str,
        positions: str,
        encoded: Any,
        given: Sequence[Sequence[Selection]],
    ) -> None:
        self.adapter, self.contiguous = adapter, positions == "contiguous"
        self.layers = method.layers_of(len(adapter.language_model.layers))
        self.depth = len(adapter.language_model.layers)
        followed = [given[number] if number < len(given) else () for number in range(len(rows))]
        self.rows = [
            PrunedRow(row, method, budgets_of, self.depth, newline, raters_of(adapter, method, row), one)
            for row, one in zip(rows, followed, strict=True)
        ]
        self.prompt_length = max(row.length for row in self.rows)
        self.stages = [_Stage(number, layer) for number, layer in enumerate(self.layers)]
        self._encoded = encoded
        self._storages = {one.untyped_storage().data_ptr() for one in encoded.pooler_output} if encoded else set()
        self._cache: Any = None
        self._forward = threading.local()

    @property
    def decided(self) -> bool:
        """Whether the prefill is done, so that selections are known."""
        return all(stage.decided for stage in self.stages)

    def selections(self, row: int) -> tuple[Selection, ...]:
        """One for each image of a row."""
        return self.rows[row].selections()

    def n_newline(self, row: int) -> int:
        """Newline tokens that the last layers of a row see."""
        return self.rows[row].n_newline

    def layer_tokens(self, row: int) -> tuple[int, ...]:
        """Sequence length of a row in each LLM layer."""
        lengths = self.rows[row].lengths
        return tuple(lengths[sum(layer <= at for layer in self.layers)] for at in range(self.depth))

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

    def after_queries(self, stage: _Stage, output: Tensor) -> None:
        """On the query projection before a stage: keep the rows of the tokens that rate."""
        if stage.decided:
            return
        rows = [row.raters() for row in self.rows]
        longest = max(one.numel() for one in rows)
        length, beams = output.shape[1], output.shape[0] // len(self.rows)
        padded = [_left(one + length - row.current.numel(), longest) for one, row in zip(rows, self.rows, strict=True)]
        stage.raters = torch.stack(padded).to(output.device).repeat_interleave(beams, dim=0)
        stage.queries = output.detach().gather(1, stage.raters[..., None].expand(-1, -1, output.shape[-1]))

    def after_attention(self, stage: _Stage, module: Any, kwargs: dict[str, Any]) -> None:
        """On the attention before a stage: its rows of the tokens that rate, once, in the prefill."""
        queries, keys, raters = stage.queries, stage.keys, stage.raters
        stage.queries = stage.keys = stage.raters = None
        if stage.decided:
            return
        assert queries is not None and keys is not None and raters is not None
        if keys.shape[1] != self._length_before(stage):
            raise InputError(ONE_PREFILL)
        real = self._real_before(stage, keys)
        stage.attention = attention_rows(module, queries, keys, kwargs["position_embeddings"], raters, real)
        if stage.layer == self.depth:
            self._decide(stage, None)

    def _length_before(self, stage: _Stage) -> int:
        return self.stages[stage.number - 1].length if stage.number else self.prompt_length

    def _real_before(self, stage: _Stage, like: Tensor) -> Tensor:
        """(B, L) bool: which positions of the left-padded sequences are tokens, beams of one prompt side by side."""
        lengths = torch.tensor([row.current.numel() for row in self.rows], device=like.device)
        length = self._length_before(stage)
        real = torch.arange(length, device=like.device) >= (length - lengths)[:, None]
        return real.repeat_interleave(like.shape[0] // len(self.rows), dim=0)

    def _decide(self, stage: _Stage, hidden: Tensor | None) -> None:
        attention = stage.attention
        assert attention is not None
        stage.attention = None
        beams, length = attention.shape[0] // len(self.rows), self._length_before(stage)
        stays, groups = [], []
        for number, row in enumerate(self.rows):
            shift = length - row.current.numel()
            n_raters = row.raters().numel()
            seen = attention[number * beams, :, attention.shape[2] - n_raters :, shift:]
            order, merged = row.step(seen, None if hidden is None else hidden[number * beams, shift:])
            stays.append(order + shift)
            groups.append([(place, members + shift) for place, members in merged])
        longest = max(one.numel() for one in stays)
        device = attention.device
        shifts = [longest - one.numel() for one in stays]
        starts = [self.prompt_length - row.length for row in self.rows]
        columns = [
            start + (torch.arange(row.current.numel()) if self.contiguous else row.current)
            for start, row in zip(starts, self.rows, strict=True)
        ]

        def batched(values: Sequence[Tensor]) -> Tensor:
            return torch.stack([_left(one, longest) for one in values]).repeat_interleave(beams, dim=0).to(device)

        stage.stays, stage.columns = batched(stays), batched(columns)
        stage.valid = batched([torch.ones_like(one, dtype=torch.bool) for one in stays])
        stage.dropped = torch.tensor([row.length - row.current.numel() for row in self.rows], device=device)
        stage.dropped = stage.dropped.repeat_interleave(beams)[:, None]
        stage.groups = [
            (number * beams + beam, shift + place, members)
            for number, (shift, merged) in enumerate(zip(shifts, groups, strict=True))
            for beam in range(beams)
            for place, members in merged
        ]

    def before_layer(self, index: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """On every layer from the first stage on: narrow what goes in, or (while decoding) the mask and positions."""
        hidden: Tensor = args[0]
        cache = kwargs.get("past_key_values")
        if getattr(cache, "is_compileable", False):
            raise InputError("Pruning inside the LLM needs a cache that grows; leave cache_implementation out.")
        stage = next(one for one in reversed(self.stages) if one.layer <= index)
        first = index == stage.layer
        if first and not stage.decided:
            self._decide(stage, hidden)
        seen = cache.get_seq_length(index) if cache is not None else 0
        rotary, ids = kwargs["position_embeddings"], kwargs.get("position_ids")
        if seen == 0:
            new = rotary[0].shape[1] - self.prompt_length  # above 0 in a run without a cache
            if first:
                hidden = stage.narrow(hidden, new)
                stage.mask = self._causal(stage, hidden, new, None)
            columns = stage.columns_with(new, self.prompt_length, self.contiguous)
            kwargs = {**kwargs, "position_embeddings": _at(rotary, columns)}
            if ids is not None:
                kwargs["position_ids"] = ids.expand(columns.shape[0], -1).gather(1, columns.to(ids.device))
        else:
            if first:
                new = seen + hidden.shape[1] - stage.length
                stage.mask = self._causal(stage, hidden, new, cache)
                stage.rotary = None
                if self.contiguous and ids is not None:
                    at = ids.expand(hidden.shape[0], -1) - stage.dropped.to(ids.device)
                    stage.rotary = (self.adapter.language_model.rotary_emb(hidden, position_ids=at), at)
            if stage.rotary is not None:
                kwargs = {**kwargs, "position_embeddings": stage.rotary[0], "position_ids": stage.rotary[1]}
        mask = stage.mask.to(hidden.device) if isinstance(stage.mask, Tensor) else stage.mask
        return (hidden, *args[1:]), {**kwargs, "attention_mask": mask}

    def _causal(self, stage: _Stage, hidden: Tensor, new: int, cache: Any) -> Any:
        valid = functional.pad(stage.valid.to(hidden.device), (0, new), value=True)
        return create_causal_mask(
            config=self.adapter.language_model.config,
            inputs_embeds=hidden,
            attention_mask=None if bool(valid.all()) else valid,
            past_key_values=cache,
            layer_idx=stage.layer,
        )


class _Stage:
    """The batch at one stage. stays: (B, L') int64, places of what is left in the sequence before it. columns: (B, L')
    int64, places in the whole prompt whose position ids it has. valid: (B, L') bool, False on padding. dropped: (B, 1),
    how many tokens fewer than the prompt. groups: rows and places of tokens that are means, and of what.
    """

    stays: Tensor
    columns: Tensor
    valid: Tensor
    dropped: Tensor

    def __init__(self, number: int, layer: int) -> None:
        self.number, self.layer = number, layer
        self.groups: list[tuple[int, int, Tensor]] = []
        self.raters: Tensor | None = None
        self.queries: Tensor | None = None
        self.keys: Tensor | None = None
        self.attention: Tensor | None = None
        self.mask: Any = None
        self.rotary: tuple[Any, Tensor] | None = None

    @property
    def decided(self) -> bool:
        return hasattr(self, "stays")

    @property
    def length(self) -> int:
        return self.stays.shape[1]

    def narrow(self, hidden: Tensor, new: int) -> Tensor:
        """Hidden states after the stage; the last `new` of them are past the prompt."""
        before = hidden.shape[1] - new
        narrowed = hidden.gather(1, self.stays.to(hidden.device)[..., None].expand(-1, -1, hidden.shape[-1]))
        for row, place, members in self.groups:
            narrowed[row, place] = hidden[row, members.to(hidden.device)].mean(dim=0)
        return torch.cat([narrowed, hidden[:, before:]], dim=1)

    def columns_with(self, new: int, prompt_length: int, contiguous: bool) -> Tensor:
        """`columns`, and those of `new` tokens past the prompt."""
        past = torch.arange(prompt_length, prompt_length + new, device=self.columns.device)
        past = past.expand(self.columns.shape[0], -1)
        return torch.cat([self.columns, past - self.dropped if contiguous else past], dim=1)


@contextmanager
def prune_inside(
    adapter: Adapter,
    rows: Sequence[Row],
    method: InsideMethod,
    budgets_of: Callable[[Row], Sequence[int]],
    *,
    newline: str = "drop",
    positions: str = "original",
    encoded: Any = None,
    given: Sequence[Sequence[Selection]] = (),
) -> Iterator[LayerPruning]:
    """Hooks for one `generate` call over these rows, given whole (nothing dropped before the LLM).

    encoded: the encoder output that the call is given, by which its forward calls are recognized. given: per row, the
    selections made earlier, one per image, that are followed. All hooks are removed on the way out. Raises InputError
    where the LLM has no such layers, UnsupportedModelError for sliding-window attention.
    """
    layers = adapter.language_model.layers
    at = method.layers_of(len(layers))
    if getattr(adapter.text_config, "sliding_window", None) is not None:
        raise UnsupportedModelError(
            "Pruning inside the LLM needs full attention in every layer; this LLM has a sliding window of "
            f"{adapter.text_config.sliding_window}."
        )
    deepstack = max((_n_layer_features(row) for row in rows), default=0)
    if at[0] < deepstack:
        raise InputError(
            f"layer must be at least {deepstack} for this model: its LLM layers 0 to {deepstack - 1} add features at "
            f"every image token (DeepStack); got {at[0]}."
        )
    state = LayerPruning(adapter, rows, method, budgets_of, newline, positions, encoded, given)

    # Another thread may run through these modules while the hooks are taken away again; torch then calls a hook without
    # the keyword arguments it asked for. Such a call is not of this run, so every hook takes either form.
    def on_enter(module: nn.Module, args: Any, kwargs: dict[str, Any] | None = None) -> None:
        state.enter(kwargs or {})

    def on_leave(module: nn.Module, args: Any, output: Any) -> None:
        state.leave()

    def watching(stage: _Stage) -> list[Any]:
        def on_queries(module: nn.Module, args: Any, output: Tensor) -> None:
            if state.active:
                state.after_queries(stage, output)

        def on_keys(module: nn.Module, args: Any, output: Tensor) -> None:
            if state.active:
                stage.keys = output.detach()

        def on_attention(module: nn.Module, args: Any, kwargs: Any, output: Any = None) -> None:
            if state.active:
                state.after_attention(stage, module, kwargs)

        attention = layers[stage.layer - 1].self_attn
        return [
            attention.q_proj.register_forward_hook(on_queries),
            attention.k_proj.register_forward_hook(on_keys),
            attention.register_forward_hook(on_attention, with_kwargs=True),
        ]

    def narrowing(index: int) -> Callable[..., Any]:
        def on_layer(module: nn.Module, args: Any, kwargs: dict[str, Any] | None = None) -> Any:
            return state.before_layer(index, args, kwargs) if state.active and kwargs is not None else None

        return on_layer

    handles = [
        adapter.model.register_forward_pre_hook(on_enter, with_kwargs=True),
        adapter.model.register_forward_hook(on_leave, always_call=True),
        *(handle for stage in state.stages for handle in watching(stage)),
    ]
    handles += [
        layers[index].register_forward_pre_hook(narrowing(index), with_kwargs=True)
        for index in range(at[0], len(layers))
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


def attention_rows(
    attention: Any, queries: Tensor, keys: Tensor, rotary: tuple[Tensor, Tensor], raters: Tensor, real: Tensor
) -> Tensor:
    """(B, H, R, L) float32: attention probabilities of some positions, as the layer itself computes them.

    queries: (B, R, H·d) and keys: (B, L, G·d), as projected. raters: (B, R) int64, the positions. real: (B, L) bool,
    False on padding.
    """
    query, key = (states.reshape(*states.shape[:2], -1, attention.head_dim) for states in (queries, keys))
    if hasattr(attention, "q_norm"):  # Qwen3 normalizes each head before it rotates it.
        query, key = attention.q_norm(query), attention.k_norm(key)
    query, key = query.transpose(1, 2), key.transpose(1, 2)
    rotary = (rotary[0].to(key.device), rotary[1].to(key.device))
    query = _rotated(query, *(part[:, None] for part in _at(rotary, raters)))
    key = _rotated(key, *(part[:, None] for part in rotary)).repeat_interleave(query.shape[1] // key.shape[1], dim=1)
    logits = (query.float() @ key.float().transpose(-1, -2)) * attention.scaling
    later = torch.arange(keys.shape[1], device=keys.device) > raters[..., None]
    probabilities: Tensor = logits.masked_fill((later | ~real[:, None])[:, None], float("-inf")).softmax(-1)
    return probabilities


def _rotated(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding, halves convention (Llama, Mistral, Qwen2)."""
    first, second = states.chunk(2, dim=-1)
    return states * cos + torch.cat((-second, first), dim=-1) * sin


def _at(rotary: tuple[Tensor, Tensor], columns: Tensor) -> tuple[Tensor, Tensor]:
    """Rotary embeddings (B or 1, L, d) at (B, L') columns."""
    cos, sin = (
        part.expand(columns.shape[0], -1, -1).gather(
            1, columns.to(part.device)[..., None].expand(-1, -1, part.shape[-1])
        )
        for part in rotary
    )
    return cos, sin


def _left(values: Tensor, length: int) -> Tensor:
    """Padded on the left with 0 or False."""
    return functional.pad(values, (length - values.numel(), 0))
