"""Puts the `generate` of `prune` in place of a model's own while blocks over the model are open."""

from __future__ import annotations

import functools
import inspect
import threading
from contextvars import ContextVar
from typing import Any, Protocol

_LOCK = threading.Lock()


class Block(Protocol):
    """An open block, which runs the calls that are its own."""

    def run(self, stock: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One `generate` call. stock: the `generate` that was there before the block."""


_ENTERED: ContextVar[tuple[Block, ...]] = ContextVar("entered blocks", default=())


class Dispatch:
    """Stands in a model's place of `generate` while blocks over it are open, and finds the block of each call."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.replaced = model.__dict__.get("generate")
        self.stock = model.generate
        self.blocks: tuple[Block, ...] = ()
        functools.update_wrapper(self, self.stock)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        blocks = self.blocks
        own = [one for one in _ENTERED.get() if one in blocks]
        found = own or blocks
        return found[-1].run(self.stock, args, kwargs) if found else self.stock(*args, **kwargs)

    @classmethod
    def enter(cls, model: Any, block: Block) -> Dispatch:
        """Open a block, over the stand-in that is there already or a new one."""
        with _LOCK:
            found = model.__dict__.get("generate")
            dispatch = found if isinstance(found, cls) else cls(model)
            dispatch.blocks += (block,)
            model.generate = dispatch
        _ENTERED.set((*_ENTERED.get(), block))
        return dispatch

    def leave(self, block: Block) -> None:
        """Close a block; after the last one `generate` is what it was, unless the caller has replaced it meanwhile."""
        _ENTERED.set(tuple(one for one in _ENTERED.get() if one is not block))
        with _LOCK:
            self.blocks = tuple(one for one in self.blocks if one is not block)
            if self.blocks or self.model.__dict__.get("generate") is not self:
                return
            if self.replaced is None:
                del self.model.generate
            else:
                self.model.generate = self.replaced


def by_name(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a `generate` call by name. Raises TypeError as the call itself would."""
    given = inspect.signature(type(model).generate).bind(model, *args, **kwargs).arguments
    del given["self"]
    return {**given, **given.pop("kwargs", {})}
