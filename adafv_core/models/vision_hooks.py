"""Observe one stock call of the vision encoder and collect what scoring needs.

Forward hooks on a few modules (projections of queries and keys, projector) are installed for the length of one
`get_image_features` call. Attention itself stays whatever the model uses (SDPA, FlashAttention): the one row that is
needed is computed beside it from the same queries and keys, so nothing asks for `output_attentions` and the encoder
runs once. Layers behind the feature layer are left out of that call, since nothing reads what they compute.

Hooks sit on modules that other threads may be running too, so a hook records the calls of its own thread only, and
hooks of one model are installed and removed under that model's lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from adafv_core.errors import UnsupportedModelError

_LOCKS: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()
_LOCKS_LOCK = threading.Lock()


@dataclass(frozen=True)
class Call:
    """One forward call of an observed module: its arguments and its output, detached."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    output: Any


@contextmanager
def observe(
    model: nn.Module, modules: Mapping[str, nn.Module], unused: Sequence[nn.Module] = ()
) -> Iterator[dict[str, Call]]:
    """Record the latest call of each of `modules` that this thread makes inside the block, by the given names.

    model: the model that they belong to; other threads that observe it wait. unused: layers that return their input to
    this thread inside the block, instead of computing. Hooks and layers are put back on the way out, also after an
    exception.
    """
    thread = threading.get_ident()
    calls: dict[str, Call] = {}

    # torch leaves out the keyword arguments of a call that another thread makes while the hook is removed.
    def record(name: str, module: nn.Module, args: tuple[Any, ...], *more: Any) -> None:
        if threading.get_ident() == thread:
            kwargs, output = more
            calls[name] = Call(args, kwargs, output)

    with _LOCKS_LOCK:
        lock = _LOCKS.setdefault(model, threading.RLock())
    with lock:
        handles = [
            module.register_forward_hook(partial(record, name), with_kwargs=True) for name, module in modules.items()
        ]
        own = [layer.__dict__.get("forward") for layer in unused]
        for layer in unused:
            layer.forward = partial(_unless_on, thread, layer.forward)
        try:
            yield calls
        finally:
            for layer, forward in zip(unused, own, strict=True):
                if forward is None:
                    del layer.forward
                else:
                    layer.forward = forward
            for handle in handles:
                handle.remove()


def _unless_on(thread: int, forward: Callable[..., Any], hidden_states: Any, *args: Any, **kwargs: Any) -> Any:
    """The forward of a layer, except on one thread, which gets the layer's input back."""
    if threading.get_ident() == thread:
        return hidden_states
    return forward(hidden_states, *args, **kwargs)


def layer_number(layers: Any, wanted: int | list[int], where: str) -> int:
    """The index of the layer whose output is the feature layer (of several feature layers, the last one listed).

    `hidden_states[0]` is the embedding, so `hidden_states[k]` leaves layer k - 1: vision_feature_layer = -2 names the
    layer of `attentions[-2]`. Raises UnsupportedModelError where there is no such layer.
    """
    if not isinstance(layers, nn.ModuleList):
        raise UnsupportedModelError(f"Expected a list of encoder layers in the vision tower {where}; found none.")
    last = wanted if isinstance(wanted, int) else wanted[-1]
    index = last - 1 if last >= 0 else len(layers) + last
    if not 0 <= index < len(layers):
        raise UnsupportedModelError(
            f"vision_feature_layer={last} names no layer that attends; the encoder has {len(layers)}."
        )
    return index


def execution_device(module: nn.Module) -> torch.device:
    """Where a module computes. A module that accelerate offloads keeps its weights elsewhere between calls (on the CPU,
    on disk, on "meta"): then its hook knows.
    """
    for part in module.modules():
        hook = getattr(part, "_hf_hook", None)
        for one in (*getattr(hook, "hooks", ()), hook):
            device = getattr(one, "execution_device", None)
            if device is not None:
                return torch.device("cuda", device) if isinstance(device, int) else torch.device(device)
    weight = next(module.parameters())
    return weight.device
