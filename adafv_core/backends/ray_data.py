"""Ray Data: one function over many pieces of work, on a pool of workers that each load a model once."""

from __future__ import annotations

import pickle
from collections.abc import Generator, Sequence
from typing import Any, Generic, Protocol, TypeVar

import ray
from ray.data import ActorPoolStrategy, DataContext

from adafv_core.backends.ray import start_ray
from adafv_core.errors import AdaFVError

Result = TypeVar("Result", covariant=True)


class Worker(Protocol[Result]):
    """Made once in every process of the pool, from plain values; then called with one piece of work after the other."""

    def __call__(self, piece: Any, /) -> Result: ...


class _Pickled(Generic[Result]):
    """A worker as Ray Data calls it: tables with one pickled value in, and such out."""

    def __init__(self, kind: type[Worker[Result]], arguments: tuple[Any, ...]) -> None:
        self._worker = kind(*arguments)

    def __call__(self, table: dict[str, Any]) -> dict[str, list[bytes]]:
        return {"value": [pickle.dumps(self._outcome(pickle.loads(one))) for one in table["value"]]}

    def _outcome(self, piece: Any) -> Any:
        try:
            return self._worker(piece)
        except AdaFVError as error:  # not raised here: Ray would add its traceback to the sentence
            return error


def mapped(
    kind: type[Worker[Result]],
    arguments: tuple[Any, ...],
    pieces: Sequence[Any],
    *,
    address: str = "",
    workers: int = 2,
    num_gpus: float | None = None,
    num_cpus: float = 1.0,
) -> Generator[Result, None, None]:
    """The result of each piece of work, in the order in which they are done.

    kind, arguments: the worker's class and what it is made from. address: as in RayOptions. workers: the most
    processes; a piece whose process ends is given to another. num_gpus: for each; None for 1 where there are GPUs.
    Raises the AdaFVError of a piece, and ModelError if no cluster is there.
    """
    start_ray(address, serving=False)
    if num_gpus is None:
        num_gpus = 1.0 if ray.cluster_resources().get("GPU") else 0.0
    DataContext.get_current().enable_progress_bars = False
    rows = [{"value": pickle.dumps(piece)} for piece in pieces]
    done = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        _Pickled,
        fn_constructor_args=(kind, arguments),
        batch_size=1,
        compute=ActorPoolStrategy(min_size=1, max_size=workers),
        num_cpus=num_cpus,
        num_gpus=num_gpus,
    )
    for table in done.iter_batches(batch_size=1, prefetch_batches=0):
        for value in table["value"]:
            outcome = pickle.loads(value)
            if isinstance(outcome, AdaFVError):
                raise outcome
            yield outcome
