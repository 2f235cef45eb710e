"""Ray Serve: replicas of one model on a cluster, behind one `Backend`.

    engine = load("pocket", options=RayOptions(max_replicas=4))           # a cluster on this machine
    engine = load("pocket", options=RayOptions(address="auto"))           # or one that is running

Requests about one image go to the replica that has it cached. The caller keeps scores and encoded images, so no state
is lost with a replica: what was running there is asked once more elsewhere, unless a part of the answer was shown.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayActorError, RayError, TaskCancelledError
from ray.serve.config import AutoscalingConfig, RequestRouterConfig
from ray.serve.exceptions import RayServeException

import adafv_core
from adafv_core.backends.ray_replica import Call, Failed, Missing, Replica, expanded, reduced
from adafv_core.backends.remote import ModelFacts, RemoteEngine, moved
from adafv_core.bundled import ROOT
from adafv_core.engine.gate import Stop, StopSignal, stop_signal
from adafv_core.errors import InputError, ModelError, StoppedError
from adafv_core.images import Picture
from adafv_core.types import Answer

APPLICATION = "adafv"
AFFINITY = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"
ONGOING = 2
"""Requests at a replica: one runs, and the next waits beside it; further ones go to another replica, or wait."""
_SENT = ("adafv_core", "assets")
_POLL_S = 0.02
_STOPPED = "The run was stopped before it began; ask again."


@dataclass(frozen=True)
class RayOptions:
    """Where and how a model is replicated.

    address: of a running cluster, as `ray.init` takes it ("auto", "host:6379"); "" starts one on this machine.
    min_replicas, max_replicas: between which Ray scales with the load. num_gpus: the share of a GPU for each; None
    for a whole one where the cluster has any, else none. num_cpus: CPU cores reserved for each.
    """

    address: str = ""
    min_replicas: int = 1
    max_replicas: int = 2
    num_gpus: float | None = None
    num_cpus: float = 1.0


def load(
    model: str | Path = "pocket",
    device: str = "auto",
    dtype: str = "auto",
    cache_bytes: int = 1 << 30,
    options: RayOptions | None = None,
    quantization: str | None = None,
) -> RayEngine:
    """Deploy a model on a cluster, or join the deployment that is there, and return its `Backend`.

    Raises ModelError if there is no cluster at the address, if the model cannot be loaded there, or if another model
    is deployed there.
    """
    options = options or RayOptions()
    start_ray(options.address)
    status = serve.status().applications.get(APPLICATION)
    if status is None or status.status != "RUNNING":
        gpus = options.num_gpus
        if gpus is None:
            gpus = 1.0 if ray.cluster_resources().get("GPU") else 0.0
        try:
            serve.run(
                application(
                    {
                        "model": str(model),
                        "device": device,
                        "dtype": dtype,
                        "cache_bytes": cache_bytes,
                        "quantization": quantization,
                        "min_replicas": options.min_replicas,
                        "max_replicas": options.max_replicas,
                        "num_gpus": gpus,
                        "num_cpus": options.num_cpus,
                    }
                ),
                name=APPLICATION,
                route_prefix=None,
            )
        except (RuntimeError, RayError) as error:
            raise ModelError(f"{model} could not be deployed on Ray: {_last_line(error)}") from error
    engine = RayEngine(serve.get_app_handle(APPLICATION))
    if engine.name != str(model):
        raise ModelError(f"The cluster serves {engine.name}: ask for that model, or `serve shutdown` it first.")
    return engine


def start_ray(address: str = "", serving: bool = True) -> None:
    """Connect to a cluster, or start one on this machine; workers import this copy of the library.

    serving: start Serve too, without an HTTP port. Raises ModelError if no cluster answers at the address.
    """
    if not ray.is_initialized():
        try:
            ray.init(
                address or "local",
                runtime_env=_environment(local=not address),
                include_dashboard=False if not address else None,
                log_to_driver=False,
                logging_level="error",
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ModelError(f"No Ray cluster can be reached at {address or 'local'}: {_last_line(error)}") from error
    if serving:
        serve.start(proxy_location="Disabled", logging_config={"log_level": "ERROR"})


def application(arguments: dict[str, Any]) -> serve.Application:
    """The Serve application, also for a `serve` config file, whose `args` are these.

    model, device, dtype, cache_bytes, quantization: as in `engine.load`. min_replicas, max_replicas, num_gpus,
    num_cpus: as in RayOptions. Raises InputError for any other argument.
    """
    defaults: dict[str, Any] = {
        "model": "pocket",
        "device": "auto",
        "dtype": "auto",
        "cache_bytes": 1 << 30,
        "quantization": None,
        "min_replicas": 1,
        "max_replicas": 2,
        "num_gpus": 0.0,
        "num_cpus": 1.0,
    }
    if unknown := sorted(set(arguments) - set(defaults)):
        raise InputError(f"The application has no argument {unknown[0]!r}; expected {', '.join(defaults)}.")
    given = {**defaults, **arguments}
    deployment = serve.deployment(
        Replica,
        name="Replica",
        max_ongoing_requests=ONGOING,
        autoscaling_config=AutoscalingConfig(
            min_replicas=given["min_replicas"],
            initial_replicas=given["min_replicas"],
            max_replicas=given["max_replicas"],
            target_ongoing_requests=1,
            upscale_delay_s=5.0,
            downscale_delay_s=300.0,
        ),
        ray_actor_options={"num_cpus": given["num_cpus"], "num_gpus": given["num_gpus"]},
        request_router_config=RequestRouterConfig(request_router_class=AFFINITY),
        health_check_period_s=5.0,
        health_check_timeout_s=30.0,
        graceful_shutdown_timeout_s=5.0,
    )
    return deployment.bind(given["model"], given["device"], given["dtype"], given["cache_bytes"], given["quantization"])


class RayEngine(RemoteEngine):
    """The replicas of one model. `handle`: of the application's only deployment.

    Raises ModelError where a replica ended after a part of the answer was shown, or ended twice.
    """

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        super().__init__(self._read_facts())

    def clear_cache(self) -> None:
        """`Engine.clear_cache` on every replica."""
        self._handle.broadcast("clear_cache").results()

    def process_ids(self) -> list[int]:
        """The process of each replica, on its own node."""
        return [int(one) for one in self._handle.broadcast("process_id").results()]

    def _read_facts(self) -> ModelFacts:
        found: ModelFacts = self._handle.facts.remote().result()
        return found

    def _values(self, call: str, stops: Sequence[Stop], *arguments: Any, **options: Any) -> Generator[Any, None, None]:
        """Send images by their keys first; a replica that does not have one asks for it before it begins."""
        bare, images = reduced(arguments)
        message = Call(call, moved(bare, "cpu"), moved(options, "cpu"), frozenset(images))
        key = next(iter(images), "") or _key_in(arguments)
        first: Answer | None = None
        retried = False
        while True:
            try:
                for value in self._attempt(message, key, stops):
                    if isinstance(value, Missing):
                        message = replace(message, images=moved(images, "cpu"))
                        break
                    if isinstance(value, Failed):
                        raise value.error
                    whole = expanded(value, images.__getitem__, first)
                    if first is None and isinstance(whole, Answer):
                        first = whole
                    yield whole
                else:
                    return
            except (RayActorError, RayServeException) as error:
                if first is not None:
                    raise ModelError("The replica ended in the middle of this answer: ask again.") from error
                if retried:
                    raise ModelError("Two replicas ended during this request; the cluster's log says why.") from error
                retried = True

    def _attempt(self, message: Call, key: str, stops: Sequence[Stop]) -> Iterator[Any]:
        stopped = stop_signal(*stops)
        if stopped():
            raise StoppedError(_STOPPED)
        response = self._handle.options(stream=True, session_id=key).run.remote(message)
        try:
            with _on_stop(response.cancel, stops):
                yield from response
        except (TaskCancelledError, CancelledError):
            if stopped():
                raise StoppedError(_STOPPED) from None
            raise ModelError("The cluster cancelled this request; its log says why.") from None
        finally:
            response.cancel()


def _key_in(arguments: Sequence[Any]) -> str:
    """The key of the first picture, by which a request finds its replica; "" without one."""
    if not arguments:
        return ""
    first = arguments[0]
    if isinstance(first, list | tuple):
        return _key_in(first)
    return first.key if isinstance(first, Picture) else ""


@contextmanager
def _on_stop(act: Callable[[], None], stops: Sequence[Stop]) -> Iterator[None]:
    """Call `act` once any of the stops is set within the block: a StopSignal at once, any other within 20 ms."""
    ended = Event()
    stopped = stop_signal(*stops)
    signals = [stop for stop in stops if isinstance(stop, StopSignal)]

    def poll() -> None:
        while not ended.wait(_POLL_S):
            if stopped():
                act()
                return

    with ExitStack() as stack:
        for signal in signals:
            stack.enter_context(signal.waking(act))
        if len(signals) < sum(stop is not None for stop in stops):
            Thread(target=poll, name="adafv-stop", daemon=True).start()
        if stopped():  # set before it was watched
            act()
        try:
            yield
        finally:
            ended.set()


def _environment(local: bool) -> dict[str, Any]:
    """What workers need to import this copy of the library: of a clone, its path, or the files themselves."""
    if local:
        return {"env_vars": {"PYTHONPATH": str(Path(adafv_core.__file__).parents[1])}}
    if Path(adafv_core.__file__).parents[1] != ROOT:  # installed, as it has to be on every node then
        return {}
    left_out = [f"/{one.name}" for one in ROOT.iterdir() if one.name not in _SENT]
    return {"working_dir": str(ROOT), "excludes": [*left_out, "**/__pycache__"]}


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
