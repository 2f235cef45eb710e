"""Greedy methods read nothing back to the host while they pick: on an accelerator every read waits for the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers.made_scores import made_scores
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from adafv_core.greedy import coverage_order, dpp_order
from adafv_core.methods import METHODS, get_method
from adafv_core.methods.base import NestedMethod
from adafv_core.types import TokenScores

NESTED = [name for name, method in METHODS.items() if issubclass(method, NestedMethod)]
READS = {"aten._local_scalar_dense", "aten.nonzero", "aten.masked_select", "aten.unique_dim", "aten.equal"}
"""What waits for a value on the host: `.item()`, `bool()`, indexing by a tensor of no dimension or by a mask."""


class HostReads(TorchDispatchMode):
    """Counts the operations that read a value of a tensor on the host."""

    def __init__(self, allowed: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self.counted, self.count = READS - allowed, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        by_mask = func is torch.ops.aten.index.Tensor and any(
            one is not None and one.dtype == torch.bool for one in args[1]
        )
        self.count += by_mask or str(func).rsplit(".", 1)[0] in self.counted
        return func(*args, **(kwargs or {}))


def reads_of(run: Callable[[], Any], allowed: frozenset[str] = frozenset()) -> int:
    with HostReads(allowed) as found:
        run()
    return found.count


def on_device(scores: TokenScores, device: str) -> TokenScores:
    """The same scores with every tensor on this device."""

    def moved(value: Any) -> dict[str, Tensor]:
        return {name: held.to(device) for name, held in vars(value).items() if isinstance(held, Tensor)}

    return replace(scores, visual=replace(scores.visual, **moved(scores.visual)), **moved(scores))


def test_host_reads_are_counted() -> None:
    values, at = torch.arange(4), torch.tensor(2)
    assert reads_of(lambda: values[1:].sum()) == 0

    def mark() -> None:
        values[at] = 5

    reads = (
        lambda: values.sum().item(),
        lambda: bool(values.any()),
        lambda: values[at],
        mark,
        lambda: values[values > 1],
        lambda: values.nonzero(),
    )
    assert [min(1, reads_of(read)) for read in reads] == [1] * len(reads)


@pytest.mark.parametrize("name", ["divprune", "vispruner", *NESTED])
def test_reads_do_not_grow_with_the_budget(name: str) -> None:
    """Selecting 4, 24 and 60 of 75 tokens. On the CPU, where it costs nothing, coverage looks up which rows a pick
    improved; the test below covers what it does elsewhere.
    """
    scores, method = made_scores(side=5, crops=3, width=16), get_method(name)
    counts = [reads_of(lambda: method.select(scores, budget), frozenset({"aten.nonzero"})) for budget in (4, 24, 60)]  # noqa: B023
    assert counts[0] == counts[1] == counts[2] > 0, counts


@pytest.mark.parametrize("name", NESTED)
def test_picking_reads_nothing_at_all_on_an_accelerator(name: str) -> None:
    """Tensors on the meta device have no values: whatever reads one raises."""
    scores = on_device(made_scores(side=5, crops=3, width=16), "meta")
    options = {"text_tokens": "all"} if "text_tokens" in METHODS[name].__dataclass_fields__ else {}
    given = {"temperature": scores.temperature} if name == "adafv_d" else {}
    order = get_method(name, **options, **given).order(scores, 20)
    assert order.device.type == "meta" and order.shape == (20,) and order.dtype == torch.int64
    with pytest.raises((RuntimeError, NotImplementedError)):
        order.tolist()


def test_forced_and_barred_tokens_are_not_read_either() -> None:
    similarity, ones = torch.rand(20, 20, device="meta"), torch.ones(20, device="meta")
    first, barred = torch.zeros(3, dtype=torch.int64, device="meta"), torch.zeros(20, dtype=torch.bool, device="meta")
    assert dpp_order(similarity, ones, 9, first, barred)[0].shape == (9,)
    assert coverage_order(similarity, 9, ones, ones, barred).shape == (9,)
