"""Pruning methods, one per file. To add a method, add a file here and its name to `_FILES`."""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module
from typing import Any

from adafv_core.errors import UnknownNameError
from adafv_core.methods.base import Choice, Method

__all__ = ["METHODS", "Choice", "Method", "get_method"]

_FILES = (
    "full",
    "random",
    "saliency",
    "t2i",
    "fixed_mix",
    "adafv",
    "adafv_d",
    "adav_authors",
    "visionzip",
    "vispruner",
    "divprune",
    "scope",
    "mmtok",
    "cdpruner",
    "eadp_llm",
    "pooling",
    "fastv",
    "sparsevlm",
    "pyramiddrop",
)


def _method_in(file: str) -> type[Method]:
    """The Method subclass that a file of this folder defines under the file's name."""
    module = import_module(f"{__name__}.{file}")
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Method) and value.name == file
    ]
    if len(found) != 1:
        raise ImportError(f"methods/{file}.py must define one Method subclass with name = {file!r}.")
    return found[0]


METHODS: dict[str, type[Method]] = {file: _method_in(file) for file in _FILES}
"""Every method by name, in display order."""


def get_method(name: str, **options: Any) -> Method:
    """The method with this name and these options (the fields of its class).

    Raises UnknownNameError for a name that is not in METHODS or an option that the method does not have; the message
    lists the valid ones. Raises InputError for an option out of range.
    """
    if not isinstance(name, str) or name not in METHODS:
        raise UnknownNameError(f"There is no method {name!r}; the methods are {', '.join(METHODS)}.")
    method = METHODS[name]
    known = [field.name for field in fields(method)]
    unknown = [option for option in options if option not in known]
    if unknown:
        valid = f"its options are {', '.join(known)}" if known else "it has no options"
        raise UnknownNameError(f"The method {name} has no option {', '.join(map(repr, unknown))}; {valid}.")
    return method(**options)
