"""Checks what the page and the API send, before anything is done with it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from adafv_core.checks import check_floor, check_temperature
from adafv_core.errors import BudgetError, ImageError, InputError, PromptError, UnknownNameError
from adafv_core.methods import METHODS
from app.settings import Settings

_JOINER = "\u200d"  # joins emoji, and is nothing by itself


@dataclass(frozen=True)
class TokenChoice:
    """What the slider and the brush say. force_keep, force_drop: token indices. subject: of the maps on which these
    were marked, see `sessions.Run`; "" where the caller names tokens of whatever is asked about."""

    keep_ratio: float = 0.1
    force_keep: tuple[int, ...] = ()
    force_drop: tuple[int, ...] = ()
    subject: str = ""

    def about(self, subject: str) -> TokenChoice:
        """The choice for maps of this subject: marks made on others are left out."""
        return self if self.subject in ("", subject) else TokenChoice(self.keep_ratio, subject=subject)

    def masks(self, size: int) -> dict[str, torch.Tensor]:
        """The marks as bool masks over N tokens; nothing where there are no marks."""
        masks = {}
        for name, indices in (("force_keep", self.force_keep), ("force_drop", self.force_drop)):
            if indices:
                if max(indices) >= size:
                    raise InputError(f"{name} names token {max(indices)}; this image has {size} visual tokens.")
                mask = torch.zeros(size, dtype=torch.bool)
                mask[list(indices)] = True
                masks[name] = mask
        return masks


@dataclass(frozen=True)
class Shown:
    """What the page says of itself. key: of the payload it shows. model: the one its masthead names. asked: number of
    its newest question."""

    key: str = ""
    model: str = ""
    asked: int = 0


@dataclass(frozen=True)
class AskSettings:
    """The folded settings of the page."""

    temperature: float = 100.0
    floor: float = 0.0
    text_tokens: str = "question"
    positions: str = "contiguous"
    max_new_tokens: int = 64
    compare: bool = True

    def options_for(self, method: str) -> dict[str, Any]:
        """Those that the method knows."""
        known = METHODS[method].__dataclass_fields__
        every = {
            "temperature": self.temperature,
            "floor": self.floor,
            "text_tokens": self.text_tokens,
            "positions": self.positions,
        }
        return {name: value for name, value in every.items() if name in known}


def read_choice(text: Any) -> TokenChoice:
    """The choice from the slider's JSON text; its defaults where there is none yet."""
    if not text:
        return TokenChoice()
    try:
        raw = json.loads(text)
        keep, drop = (tuple(int(index) for index in raw[name]) for name in ("force_keep", "force_drop"))
        ratio, subject = raw["keep_ratio"], str(raw.get("subject", ""))
    except (TypeError, ValueError, KeyError):
        raise InputError("The slider's value could not be read: reload the page.") from None
    if any(index < 0 for index in keep + drop):
        raise InputError("Forced tokens are numbered from 0.")
    return TokenChoice(read_ratio(ratio), keep, drop, subject)


def read_shown(text: Any) -> Shown:
    """What the page says of itself, beside the choice in the slider's JSON text; nothing where there is none."""
    try:
        raw = json.loads(text) if text else {}
        return Shown(str(raw.get("key", "")), str(raw.get("model", "")), int(raw.get("asked", 0)))
    except (TypeError, ValueError, AttributeError, OverflowError):
        raise InputError("The slider's value could not be read: reload the page.") from None


def read_ratio(value: Any) -> float:
    """A keep ratio above 0 and at most 1, from whatever a caller sent."""
    number = read_number(value, "keep_ratio, the fraction of visual tokens kept,", 0.1, BudgetError)
    if not 0 < number <= 1:
        raise BudgetError(f"keep_ratio is the fraction of visual tokens kept, above 0 and at most 1; got {number}.")
    return number


def read_number(value: Any, what: str, example: float, error: type[InputError] = InputError) -> float:
    """A finite number, from a number or its text."""
    number = _number(value)
    if not math.isfinite(number):
        raise error(f"{what} must be a number, {example:g} for example; got {shortened(value)}.")
    return number


def read_count(value: Any, what: str, most: int) -> int:
    """A whole number from 1 to `most`."""
    number = _number(value)
    if not 1 <= number <= most or number != int(number):
        raise InputError(f"{what} must be a whole number from 1 to {most}; got {shortened(value)}.")
    return int(number)


def _number(value: Any) -> float:
    try:
        return float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return math.nan


def read_flag(value: Any, what: str) -> bool:
    """True or false, and nothing that only looks like it."""
    if not isinstance(value, bool):
        raise InputError(f"{what} must be true or false; got {shortened(value)}.")
    return value


def read_marks(value: Any, what: str) -> tuple[int, ...]:
    """Token indices, each once; none from an empty list or None."""
    if value is None:
        return ()
    if not isinstance(value, list) or not all(type(index) is int and index >= 0 for index in value):
        raise InputError(f"{what} must be a list of token indices, numbered from 0; got {shortened(value)}.")
    return tuple(dict.fromkeys(value))


def read_method(value: Any) -> str:
    """The name of a method."""
    if not isinstance(value, str) or value not in METHODS:
        raise UnknownNameError(f"There is no method {shortened(value)}; the methods are {', '.join(METHODS)}.")
    return value


def read_prompt(value: Any, settings: Settings) -> str:
    """The question as the user typed it, without characters that are no text."""
    if not isinstance(value, str):
        raise PromptError("There is no question yet: type one below the image.")
    text = "".join(c for c in value if c in "\n\t" or (c.isprintable() or c == _JOINER)).strip()
    if not text.strip(_JOINER):
        raise PromptError("There is no question yet: type one below the image.")
    if len(text) > settings.max_prompt_characters:
        raise PromptError(
            f"The question has {len(text)} characters; at most {settings.max_prompt_characters} are taken."
        )
    return text


def read_more(
    temperature: Any,
    floor: Any,
    text_tokens: Any,
    positions: Any,
    max_new_tokens: Any,
    compare: Any,
    settings: Settings,
) -> AskSettings:
    """The folded settings, each in its range."""
    if text_tokens not in ("question", "all"):
        raise UnknownNameError(f"text tokens must be question or all; got {shortened(text_tokens)}.")
    if positions not in ("contiguous", "original"):
        raise UnknownNameError(f"positions must be contiguous or original; got {shortened(positions)}.")
    return AskSettings(
        check_temperature(read_number(temperature, "The temperature", AskSettings.temperature)),
        check_floor(read_number(floor, "The floor", AskSettings.floor)),
        text_tokens,
        positions,
        read_count(max_new_tokens, "The number of new tokens", settings.max_new_tokens),
        read_flag(compare, "with_full (answer with all tokens too)"),
    )


def read_list(value: Any, what: str, example: str) -> Sequence[Any]:
    """A non-empty list."""
    if not isinstance(value, list | tuple) or not value:
        came = shortened(value)
        raise InputError(f"{what} must be a list with at least one entry, {example} for example; got {came}.")
    return value


def read_path(value: Any) -> Path:
    """The path of an uploaded file as a component hands it over."""
    if not isinstance(value, str) or not value:
        raise ImageError("There is no image yet: upload, paste or photograph one, or choose an example.")
    return Path(value)


def shortened(value: Any) -> str:
    """What came, short enough for an error message."""
    if value is None or (not value and isinstance(value, str | list | tuple | dict)):
        return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
