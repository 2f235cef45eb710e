"""The configurations that a study compares: a method with its options, or one of the two bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from adafv_core.engine.request import Request
from adafv_core.errors import InputError, UnknownNameError
from adafv_core.methods import METHODS
from adafv_core.study.measure.bounds import BLIND, BOUNDS, TITLES

FULL, FLOPS = "full", "flops_ratio"


@dataclass(frozen=True)
class Config:
    """One row of the results table.

    method: a name of METHODS, "oracle" or "blind" (see `bounds`). options: of the method, positions, and flops_ratio
    for budgets that are a share of the full prefill's FLOPs, whatever the keep ratio.
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


def flops_label(label: str, share: float) -> str:
    """The label of a row when its budgets are this share of the full prefill's FLOPs."""
    return f"{label} {FLOPS}={share}"


def share_of_flops(label: str) -> float | None:
    """The share of FLOPs in a row's label; None for a row whose budgets are keep ratios."""
    _, given, share = label.partition(f" {FLOPS}=")
    return float(share) if given else None


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
    types = {one.name: str(one.type) for one in fields(METHODS[name])} | {FLOPS: "float"}
    options: dict[str, Any] = {}
    for pair in filter(None, given.split(",")):
        option, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"Expected option=value after {name}:, as in adafv:floor=0.25; got {pair!r}.")
        options[option] = _value(value, types.get(option, "str"))
    asked = {option: options[option] for option in ("positions", FLOPS) if option in options}
    own = {option: value for option, value in options.items() if option not in asked}
    Request(name, own, **asked)
    # The share of FLOPs is last, as in `flops_label`.
    return Config(name, {**own, **asked})


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


def check_keep_ratios(ratios: Sequence[float], what: str = "Keep ratios") -> tuple[float, ...]:
    """Ratios, largest first, each once. Raises InputError unless all are above 0 and at most 1, and for none."""
    wrong = [ratio for ratio in ratios if not 0 < ratio <= 1]
    if wrong or not ratios:
        came = ", ".join(map(str, wrong)) or "none"
        raise InputError(f"{what} are fractions above 0 and at most 1, such as 0.1; got {came}.")
    return tuple(sorted(set(ratios), reverse=True))


def at_equal_flops(configs: Sequence[Config], shares: Sequence[float]) -> tuple[Config, ...]:
    """Every configuration that prunes, once for each share of the full prefill's FLOPs, which solves its budgets.

    The bounds are left out: no budget is solved for the oracle, and the blind row has one token.
    Raises InputError for a share that is not above 0 and at most 1.
    """
    if not shares:
        return ()
    return tuple(
        Config(config.method, {**config.options, FLOPS: float(share)})
        for config in configs
        if config.method not in (FULL, *BOUNDS) and FLOPS not in config.options
        for share in check_keep_ratios(shares, "Shares of FLOPs")
    )


def jobs(configs: Sequence[Config], ratios: Sequence[float]) -> list[tuple[Config, float | None]]:
    """The (configuration, keep ratio) pairs to run, with None as the ratio of `blind`.

    At a keep ratio of 1 nothing is pruned and every method equals `full`, which runs once. `full` always runs, since
    all other results are stated relative to it. `blind` keeps the fewest tokens possible whatever the ratio, and a
    configuration with a share of FLOPs what that share buys.
    """
    found: list[tuple[Config, float | None]] = [(Config(FULL), 1.0)]
    for config in configs:
        if config.method == BLIND or FLOPS in config.options:
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
