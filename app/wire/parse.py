"""Validates everything that the page and the API send, before it is used."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from adafv_core.checks import check_floor, check_keep_ratio, check_temperature
from adafv_core.errors import BudgetError, ImageError, InputError, PromptError, UnknownNameError
from adafv_core.methods import METHODS
from adafv_core.types import POSITIONS, SHARES
from app.settings import Settings
from app.wire.look import Look, make_look

TEXT_TOKENS = ("question", "all")
POSITION_CHOICES = ("default", *POSITIONS)
"""`default` is what the model's family does: contiguous, or positions in time, height and width of its own."""
LARGEST_BLOCK = 64
"""Side of the groups of patches that a causal map leaves out."""
_JOINER = "\u200d"  # joins emoji; invisible by itself
_NO_PROMPT = "There is no question yet: type one below the image."


@dataclass(frozen=True)
class TokenChoice:
    """The positions of the slider and the marks of the brush.

    force_keep, force_drop: token indices. subject: the maps on which these were marked, see `sessions.Run`; "" applies
    them to whatever image is asked about.
    """

    keep_ratio: float = 0.1
    force_keep: tuple[int, ...] = ()
    force_drop: tuple[int, ...] = ()
    subject: str = ""

    def about(self, subject: str) -> TokenChoice:
        """The choice for maps of this subject: marks made on other maps are left out."""
        return self if self.subject in ("", subject) else TokenChoice(self.keep_ratio, subject=subject)

    def masks(self, size: int) -> dict[str, torch.Tensor]:
        """The marks as bool masks over N tokens, by the method's option; empty without marks."""
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
class PageState:
    """What the browser sends with every event: the slider's value and the state of the page around it.

    payload_key: identifies the payload that the page shows. model: the one named in its masthead. number: of the
    newest request, as counted by the page. look: of its maps. block: side of the groups that its causal map leaves out.
    """

    choice: TokenChoice = field(default_factory=TokenChoice)
    payload_key: str = ""
    model: str = ""
    number: int = 0
    look: Look = field(default_factory=Look)
    block: int = 1


@dataclass(frozen=True)
class AskSettings:
    """The settings under "More" on the page; the API has the same."""

    temperature: float = 100.0
    floor: float = 0.0
    text_tokens: str = "question"
    positions: str = "default"
    max_new_tokens: int = 64
    with_full: bool = True
    share: str = "image"

    def options_for(self, method: str) -> dict[str, Any]:
        """Those that are options of this method."""
        known = METHODS[method].__dataclass_fields__
        return {name: getattr(self, name) for name in METHOD_OPTIONS if name in known}

    @property
    def positions_asked(self) -> str | None:
        """For a `Request`: None stands for what the family does."""
        return None if self.positions == AskSettings.positions else self.positions


METHOD_OPTIONS = ("temperature", "floor", "text_tokens")


def read_page_state(text: Any) -> PageState:
    """The page's state from its JSON text; the defaults for an empty text. Raises InputError for any other value."""
    if not text:
        return PageState()
    try:
        raw = json.loads(text)
        keep, drop = (tuple(int(index) for index in raw[name]) for name in ("force_keep", "force_drop"))
        if any(index < 0 for index in keep + drop):
            raise ValueError("a token index below 0")
        choice = TokenChoice(read_ratio(raw["keep_ratio"]), keep, drop, str(raw.get("subject", "")))
        look = make_look(raw.get("look", {}))
        block = read_count(raw.get("block", 1), "The side of a block", LARGEST_BLOCK)
        number = int(raw.get("asked", 0))
        return PageState(choice, str(raw.get("key", "")), str(raw.get("model", "")), number, look, block)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("The state of the page could not be read: reload the page.") from None


def read_ratio(value: Any) -> float:
    """A keep ratio above 0 and at most 1, from whatever a caller sent. Raises BudgetError."""
    return check_keep_ratio(read_number(value, "keep_ratio, the fraction of visual tokens kept,", 0.1, BudgetError))


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
    """True or false; nothing else is converted."""
    if not isinstance(value, bool):
        raise InputError(f"{what} must be true or false; got {shortened(value)}.")
    return value


def read_marks(value: Any, what: str) -> tuple[int, ...]:
    """Token indices, each once; empty for an empty list or None."""
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
    """The question as the user typed it, without unprintable characters."""
    if not isinstance(value, str):
        raise PromptError(_NO_PROMPT)
    text = "".join(c for c in value if c in "\n\t" or (c.isprintable() or c == _JOINER)).strip()
    if not text.strip(_JOINER):
        raise PromptError(_NO_PROMPT)
    if len(text) > settings.max_prompt_characters:
        raise PromptError(
            f"The question has {len(text)} characters; at most {settings.max_prompt_characters} are allowed."
        )
    return text


def read_ask_settings(values: Mapping[str, Any], settings: Settings) -> AskSettings:
    """The settings under "More", each within its range; the defaults for those not in `values`."""
    given = {name: values.get(name, getattr(AskSettings, name)) for name in AskSettings.__dataclass_fields__}
    if given["text_tokens"] not in TEXT_TOKENS:
        raise UnknownNameError(f"text tokens must be question or all; got {shortened(given['text_tokens'])}.")
    if given["positions"] not in POSITION_CHOICES:
        raise UnknownNameError(f"positions must be {', '.join(POSITION_CHOICES)}; got {shortened(given['positions'])}.")
    if given["share"] not in SHARES:
        raise UnknownNameError(f"share must be {' or '.join(SHARES)}; got {shortened(given['share'])}.")
    most = settings.max_new_tokens
    return AskSettings(
        temperature=check_temperature(read_number(given["temperature"], "The temperature", AskSettings.temperature)),
        floor=check_floor(read_number(given["floor"], "The floor", AskSettings.floor)),
        text_tokens=given["text_tokens"],
        positions=given["positions"],
        max_new_tokens=read_count(
            values.get("max_new_tokens", settings.answer_tokens), "The number of new tokens", most
        ),
        with_full=read_flag(given["with_full"], "with_full (answer with all tokens too)"),
        share=given["share"],
    )


def read_list(value: Any, what: str, example: str) -> Sequence[Any]:
    """A non-empty list."""
    if not isinstance(value, list | tuple) or not value:
        came = shortened(value)
        raise InputError(f"{what} must be a list with at least one entry, {example} for example; got {came}.")
    return value


def read_path(value: Any) -> Path:
    """The path of an uploaded file as a component passes it on."""
    if not isinstance(value, str) or not value:
        raise ImageError("There is no image yet: upload, paste or photograph one, or choose an example.")
    return Path(value)


def read_more_paths(value: Any, settings: Settings) -> list[Path]:
    """The paths of further uploaded pictures of a question; none for an empty list or None."""
    if not value:
        return []
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise ImageError(f"more_images must be a list of pictures; got {shortened(value)}.")
    if len(value) >= settings.max_images:
        raise ImageError(f"A question takes at most {settings.max_images} pictures; got {len(value) + 1}.")
    return [Path(one) for one in value]


def shortened(value: Any) -> str:
    """A value short enough for an error message."""
    if value is None or (not value and isinstance(value, str | list | tuple | dict)):
        return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
