"""Errors in saved runs, with their JSON path: `scores.t2i[3]: expected a number at least 0, got "x"`."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import inspect

from adafv_core.errors import InputError

_MISSING = re.compile(r"missing required field `(\w+)`")
_PATH = re.compile(r" - at `\$(.*)`$")
_STEP = re.compile(r"\.(\w+)|\[(\d+|\.\.\.)\]")


DAMAGED = "This saved run is damaged: "
"""Begins every error about a field; its path follows."""


def damaged(path: str, expected: str, got: Any) -> InputError:
    """The error for a value at a path of the file. got: the value, shown as JSON and shortened."""
    try:
        shown = msgspec.json.encode(got).decode()
    except (TypeError, OverflowError, UnicodeEncodeError):
        shown = repr(got)
    return InputError(f"This saved run is damaged: {path}: expected {expected}, got {shortened(shown)}.")


def damaged_record(error: msgspec.ValidationError, data: bytes, record: type[msgspec.Struct]) -> InputError:
    """The error for JSON that does not match this record.

    msgspec reports the path and the problem; the declared type and the value at that path complete the message.
    """
    found = _PATH.search(str(error))
    steps = _STEP.findall(found.group(1)) if found else []
    path = found.group(1).lstrip(".") if found else ""
    missing = _MISSING.search(str(error))
    if missing:
        return InputError(f"This saved run is damaged: {f'{path}.' if path else ''}{missing.group(1)} is missing.")
    node: inspect.Type = inspect.type_info(record)
    value = msgspec.json.decode(data)
    for name, index in steps:
        node = _inside(node, name, index)
        if index != "...":
            value = value[name or int(index)]
    return damaged(path, _words(node, value), value)


def shortened(text: str, most: int = 60) -> str:
    """The text on one line; if longer than `most` characters, without its middle."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most * 2 // 3]} … {line[-most // 3 :]}"


def _inside(node: inspect.Type, name: str, index: str) -> inspect.Type:
    """The declared type one step further down the path."""
    match node:
        case inspect.UnionType():
            return _inside(next(one for one in node.types if not isinstance(one, inspect.NoneType)), name, index)
        case inspect.StructType():
            return next(field.type for field in node.fields if field.encode_name == name)
        case inspect.TupleType():
            return node.item_types[int(index)]
        case inspect.ListType():
            return node.item_type
        case inspect.DictType():
            return node.value_type
    return node


def _words(node: inspect.Type, value: Any) -> str:
    """A declared type in words; an upper limit is mentioned only if the value exceeds it."""
    match node:
        case inspect.UnionType():
            return " or ".join(dict.fromkeys(_words(one, value) for one in node.types))
        case inspect.FloatType():
            return "a number" + _bounds(node, value)
        case inspect.IntType():
            return "a whole number" + _bounds(node, value)
        case inspect.StrType():
            longer = isinstance(value, str) and node.max_length
            return f"text of at most {node.max_length:,} characters" if longer else "text"
        case inspect.BoolType():
            return "true or false"
        case inspect.NoneType():
            return "null"
        case inspect.LiteralType():
            return " or ".join(f'"{value}"' if isinstance(value, str) else str(value) for value in node.values)
        case inspect.TupleType():
            return f"a list of {len(node.item_types)}"
        case inspect.ListType():
            most = f" to {node.max_length}" if node.max_length else " or more"
            return f"a list of {node.min_length}{most}" if node.min_length else "a list"
    return "an object"


def _bounds(node: inspect.FloatType | inspect.IntType, value: Any) -> str:
    if isinstance(value, int | float) and node.le is not None and value > node.le:
        return f" of at most {node.le:,}"
    return "" if node.ge is None else f" at least {node.ge:g}"
