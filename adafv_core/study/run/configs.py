"""The configurations that a study compares: a method with its options, or one of the two bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from adafv_core.engine.request import Request
from adafv_core.errors import InputError, UnknownNameError
from adafv_core.methods import METHODS
from adafv_core.study.measure.bounds import BLIND, BOUNDS, TITLES

FULL = "full"


@dataclass(frozen=True)
class Config:
    """One row of the results table.

    method: a name of METHODS, "oracle" or "blind" (see `bounds`). options: of the method, and positions.
    """

    method: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The configuration's name in files and tables: "adafv", "adafv floor=0.25"."""
        return " ".join([self.method, *(f"{name}={value}" for name, value in self.options.items())])


def row_title(label: str) -> str:
    """A row's label in words: "AdaFV" for "adafv", "AdaFV, floor=0.25" for "adafv floor=0.25".

    A method that is not installed here, as in someone else's results, keeps its name.
    """
    method, *options = label.split(" ")
    title = METHODS[method].title if method in METHODS else TITLES.get(method, method)
    return ", ".join([title, *options])


ABLATION = (
    Config("adafv"),
    Config("adafv", {"floor": 0.25}),
    Config("adafv", {"temperature": 10.0}),
    Config("adafv", {"temperature": 30.0}),
    Config("adafv", {"temperature": 300.0}),
    Config("adafv", {"text_tokens": "all"}),
    Config("adafv", {"positions": "original"}),
    Config("fixed_mix"),
)
"""AdaFV with its defaults (floor 0, temperature 100, question, contiguous), then with one of them changed at a time."""


SEEDS = tuple(Config("random", {"seed": seed}) for seed in range(1, 5))
"""Four more runs of `random`, which make five with `random` itself."""


def parse_config(text: str) -> Config:
    """A configuration from "adafv" or "adafv:floor=0.25,temperature=30". Raises UnknownNameError or InputError."""
    name, _, given = text.strip().partition(":")
    if name in BOUNDS:
        if given:
            raise InputError(f"{name} has no options; got {given!r}.")
        return Config(name)
    if name not in METHODS:
        raise UnknownNameError(
            f"There is no method {name!r}; expected all, ablation, seeds, {', '.join(METHODS)}, {' or '.join(BOUNDS)}."
        )
    types = {one.name: str(one.type) for one in fields(METHODS[name])}
    options: dict[str, Any] = {}
    for pair in filter(None, given.split(",")):
        option, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"Expected option=value after {name}:, as in adafv:floor=0.25; got {pair!r}.")
        options[option] = _value(value, types.get(option, "str"))
    positions = options.get("positions")
    Request(name, {option: value for option, value in options.items() if option != "positions"}, positions=positions)
    return Config(name, options)


def parse_configs(texts: Sequence[str]) -> tuple[Config, ...]:
    """Configurations in order, each once.

    "all" is every method and both bounds, "ablation" is ABLATION, "seeds" is SEEDS.
    """
    configs: list[Config] = []
    for text in texts:
        if text == "all":
            configs += [Config(name) for name in (*METHODS, *BOUNDS)]
        elif text == "ablation":
            configs += ABLATION
        elif text == "seeds":
            configs += SEEDS
        else:
            configs.append(parse_config(text))
    if not configs:
        raise InputError("Expected at least one method, or all.")
    return tuple({config.label: config for config in configs}.values())


def check_keep_ratios(ratios: Sequence[float]) -> tuple[float, ...]:
    """Keep ratios, largest first, each once. Raises InputError unless all are above 0 and at most 1."""
    wrong = [ratio for ratio in ratios if not 0 < ratio <= 1]
    if wrong or not ratios:
        came = ", ".join(map(str, wrong)) or "none"
        raise InputError(f"Keep ratios are fractions above 0 and at most 1, such as 0.1; got {came}.")
    return tuple(sorted(set(ratios), reverse=True))


def jobs(configs: Sequence[Config], ratios: Sequence[float]) -> list[tuple[Config, float | None]]:
    """The (configuration, keep ratio) pairs to run, with None as the ratio of `blind`.

    At a keep ratio of 1 nothing is pruned and every method equals `full`, which runs once. `full` always runs, since
    all other results are stated relative to it. `blind` keeps the fewest tokens possible whatever the ratio.
    """
    found: list[tuple[Config, float | None]] = [(Config(FULL), 1.0)]
    for config in configs:
        if config.method == BLIND:
            found.append((config, None))
        elif config.method != FULL:
            found += [(config, ratio) for ratio in ratios if ratio < 1]
    return found


def _value(text: str, kind: str) -> Any:
    if kind == "bool":
        return text.lower() in ("true", "1", "yes")
    if kind not in ("int", "float"):
        return text
    try:
        return int(text) if kind == "int" else float(text)
    except ValueError:
        raise InputError(f"Expected a number; got {text!r}.") from None
