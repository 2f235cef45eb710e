"""The models of the page: which one it starts with, the pool of loaded ones, and switching between them."""

from __future__ import annotations

import gc
import math
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from cachetools import LRUCache

from adafv_core.engine.backend import Backend
from adafv_core.engine.gate import StopSignal
from adafv_core.engine.streaming import now_s
from adafv_core.errors import AdaFVError, InputError, ModelError, OutOfMemoryError
from adafv_core.loading.download import Report, cached_folder
from adafv_core.loading.known_models import KNOWN_MODELS, KnownModel, advised, find_known
from adafv_core.memory import available_bytes, free_memory
from app.serving.model_load import ModelLoad
from app.serving.sessions import Session
from app.settings import Settings
from app.wire.parse import shortened

AUTO = "auto"
POCKET = "pocket"
ANY_HUB_ID = "hub"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
ON_A_GPU = "llava-hf/llava-1.5-7b-hf"
_MOST_BESIDE = 1
_TEXT_TOKENS = 40
"""Of a question with its template, for the estimate of an answer's seconds."""


@dataclass(frozen=True)
class Started:
    """The first model. notice: a sentence for the page if it is not the one that was requested, else empty."""

    name: str
    engine: Backend
    notice: str = ""


def starting_model(setting: str, gpu: bool) -> str:
    """The model that a setting means: `auto` is LLaVA-1.5-7B on a GPU and the pocket model without one."""
    if setting != AUTO:
        return setting
    return ON_A_GPU if gpu else POCKET


def load_first(setting: str, fallback: bool, load: Callable[[str], Backend], gpu: bool | None = None) -> Started:
    """Load the model that a setting means.

    fallback: if it cannot be loaded, start with the pocket model and a notice instead of raising ModelError; `auto`
    always falls back. gpu: whether there is one, None to find out.
    """
    name = starting_model(setting, torch.cuda.is_available() if gpu is None else gpu)
    try:
        return Started(name, _loaded(name, load))
    except ModelError as error:
        if name == POCKET or not (fallback or setting == AUTO):
            raise
        sentence = f"{name} could not be loaded, so the bundled pocket model answers. {error}"
    free_memory()
    return Started(POCKET, _loaded(POCKET, load), sentence)


def _loaded(name: str, load: Callable[[str], Backend]) -> Backend:
    try:
        return load(name)
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError(f"{name} does not fit into this device's memory: choose a smaller model.") from error


class ModelPool:
    """Engines by name: the first model always, and the most recent other one. A failed load changes nothing, and the
    loaded models answer while another one loads.

    load: makes an engine from a model name and a callback for download progress; raises ModelError.
    """

    def __init__(self, first: str, engine: Backend, load: Callable[[str, Report], Backend]) -> None:
        self.first = first
        self._make = load
        self._first_engine = engine
        self._beside: LRUCache[str, Backend] = LRUCache(_MOST_BESIDE)
        self._coming: dict[str, ModelLoad] = {}
        self._changing = threading.Lock()
        self._one_at_a_time = threading.Lock()

    @property
    def device(self) -> torch.device:
        """Where the first model runs, and others are loaded."""
        return self._first_engine.device

    def engine(self, name: str) -> Backend:
        """The engine of this name; loads it first if necessary."""
        return self.load(name).engine()

    def load(self, name: str, client_gone: StopSignal | None = None) -> ModelLoad:
        """Start to load a model, or join a load in progress; a loaded model is returned as a finished load.

        client_gone: set once the caller's client has gone; a download for clients that are all gone ends.
        """
        with self._changing:
            load = self._coming.get(name) or ModelLoad(name)
            load.wait_until(client_gone or StopSignal())
            if name in self._coming:
                return load
            ready = self._first_engine if name == self.first else self._beside.get(name)
            if ready is None:
                self._coming[name] = load
        if ready is None:
            threading.Thread(target=self._fetch, args=(load,), name="adafv-load", daemon=True).start()
        else:
            load.finish(ready)
        return load

    def loaded(self) -> tuple[str, ...]:
        """Names of the models that are ready."""
        return (self.first, *self._beside)

    def _fetch(self, load: ModelLoad) -> None:
        try:
            with self._one_at_a_time:
                load.check()
                engine = self._made(load)
                with self._changing:
                    self._beside[load.name] = engine
        except BaseException as error:
            self._gone(load)
            load.fail(error)
        else:
            self._gone(load)
            load.finish(engine)

    def _gone(self, load: ModelLoad) -> None:
        with self._changing:
            del self._coming[load.name]

    def _made(self, load: ModelLoad) -> Backend:
        """The engine; if memory is too small for it and the others, they are dropped first."""
        engine = self._tried(load)
        if engine is None and self._beside:
            with self._changing:
                self._beside.clear()
            engine = self._tried(load)
        if engine is None:
            raise OutOfMemoryError(f"{load.name} does not fit into this device's memory: choose a smaller model.")
        return engine

    def _tried(self, load: ModelLoad) -> Backend | None:
        gc.collect()
        torch.cuda.empty_cache()
        try:
            return self._make(load.name, load.report)
        except (torch.OutOfMemoryError, OutOfMemoryError):
            return None


@dataclass(frozen=True)
class ListedModel:
    """One entry of the list. download_bytes, license: None if unknown. on_disk: needs no download. loaded: can answer
    at once. answers: is this session's model. needed_bytes: approximate memory that answering needs, None if unknown.
    fits: whether that much is free on the device now, None if either is unknown."""

    name: str
    title: str
    download_bytes: int | None
    license: str | None
    on_disk: bool
    loaded: bool
    answers: bool
    needed_bytes: int | None = None
    fits: bool | None = None


def listed_models(pool: ModelPool, settings: Settings, session: Session) -> list[ListedModel]:
    """The models a session can ask: the one the app started with and, if others may be loaded, the known ones and the
    session's own."""
    names = [pool.first]
    fits: dict[str, bool | None] = {}
    if settings.model_menu:
        fits = {known.model_id: fit for known, fit in others(pool.first, pool.device)}
        names += fits
    names += [session.model] if session.model not in names else []
    loaded = pool.loaded()
    on_gpu = pool.device.type == "cuda"
    return [_listed(name, name in loaded, name == session.model, on_gpu, fits.get(name)) for name in names]


def others(first: str, device: torch.device) -> list[tuple[KnownModel, bool | None]]:
    """The known models other than the one the app started with, and whether each fits into the memory that is free.

    device: where models are loaded. Those that fit come first, the advised one at the top; then the rest, the smallest
    first. Where the system does not say how much memory is free, all are listed as unknown (None).
    """
    free, on_gpu = available_bytes(device), device.type == "cuda"
    if free is None:
        return [(known, None) for known in KNOWN_MODELS if known.model_id != first]
    fitting = advised(free, on_gpu)
    rest = sorted((one for one in KNOWN_MODELS if one not in fitting), key=lambda one: one.needed_bytes(on_gpu))
    return [(known, known in fitting) for known in (*fitting, *rest) if known.model_id != first]


def offered(pool: ModelPool) -> KnownModel | None:
    """The smallest known model that fits into the memory that is free; None where none fits or that is unknown."""
    fitting = [known for known, fits in others(pool.first, pool.device) if fits]
    return min(fitting, key=lambda known: known.parameters, default=None)


def offered_on_gpu(pool: ModelPool) -> KnownModel:
    """The model offered where there is a GPU: LLaVA-1.5-7B, the paper's; if the GPU is known to have too little free
    memory for it, the smallest that fits.
    """
    usual = next(known for known in KNOWN_MODELS if known.model_id == ON_A_GPU)
    if pool.device.type != "cuda" or ON_A_GPU in pool.loaded() or (usual, False) not in others(pool.first, pool.device):
        return usual
    return offered(pool) or usual


def offer_sentence(pool: ModelPool) -> str:
    """What the smallest known model that fits would take: its download, license and seconds an answer; empty for
    none."""
    known = offered(pool)
    if known is None:
        return ""
    size = "on this machine already" if on_disk(known) else f"{known.download_bytes / 1e9:.1f} GB download"
    return (
        f"The smallest that fits here is {known.title} ({size}, {known.license}; "
        f"estimated {max(1, round(estimated_s(known, pool.device)))} s to read a picture with all its tokens)."
    )


def estimated_s(known: KnownModel, device: torch.device) -> float:
    """Seconds of a prefill with all visual tokens of one picture, estimated from the device's matrix products.

    A multiply-add a parameter and token counts as two FLOPs; attention, decoding and the encoder's own token count are
    left out, so it tells the order of magnitude.
    """
    return 2 * known.parameters * (known.n_visual + _TEXT_TOKENS) / _flops_per_s(device)


@cache
def _flops_per_s(device: torch.device) -> float:
    """FLOPs a second of matrix products of the dtype that models have there, measured once: the best of three."""
    side, dtype = (4096, torch.float16) if device.type == "cuda" else (768, torch.float32)
    matrix = torch.ones(side, side, device=device, dtype=dtype)
    best_s = math.inf
    for _ in range(4):
        began_s = now_s(device)
        torch.mm(matrix, matrix)
        best_s = min(best_s, now_s(device) - began_s)
    return 2 * side**3 / best_s


def on_disk(known: KnownModel) -> bool:
    """Whether a known model is already on this machine."""
    return cached_folder(known.model_id, known.revision) is not None


def read_model(value: object, settings: Settings) -> str:
    """The name of a model that users may load. Raises InputError for any other, in words that do not depend on whether
    it exists.
    """
    if not settings.model_menu:
        raise InputError(f"Other models cannot be loaded on this page: {settings.model} answers every question.")
    name = value.strip() if isinstance(value, str) else ""
    if not name:
        raise InputError(f"Name a model to load, such as {settings.model}; got {shortened(value)}.")
    if not may_load(name, settings):
        raise InputError(
            f"{shortened(name)} is not among the models that can be loaded here: /models lists them. Whoever runs the "
            "page can allow others with --models (ADAFV_MODELS)."
        )
    return name


def may_load(name: str, settings: Settings) -> bool:
    """Whether users may load this model: the first, a known one, or what the operator has listed in `models`."""
    if not settings.model_menu:
        return False
    listed = {one for part in settings.models.split(",") if (one := part.strip())}
    any_hub_id = ANY_HUB_ID in listed
    listed.discard(ANY_HUB_ID)
    if name in (settings.model, POCKET, *listed) or find_known(name) is not None:
        return True
    if _HUB_ID.fullmatch(name):
        return any_hub_id and not Path(name).exists()
    folders = [Path(one).resolve() for one in listed if Path(one).is_absolute()]
    return any(Path(name).expanduser().resolve().is_relative_to(folder) for folder in folders)


def switch_model(session: Session, loading: ModelLoad, client_gone: StopSignal) -> Backend:
    """Wait for the load, then switch the session to its model. Raises ModelError, and changes nothing, if it failed.

    client_gone: ends the wait with StoppedError.
    """
    try:
        engine = loading.engine_for(client_gone)
    except AdaFVError:
        raise
    except Exception as error:
        raise ModelError(f"{loading.name} could not be loaded ({type(error).__name__}).") from error
    session.change_model(loading.name)
    return engine


def _listed(name: str, loaded: bool, answers: bool, on_gpu: bool, fits: bool | None) -> ListedModel:
    known = find_known(name)
    if known is not None:
        size, needed = known.download_bytes, known.needed_bytes(on_gpu)
        return ListedModel(name, known.title, size, known.license, on_disk(known), loaded, answers, needed, fits)
    if name == POCKET:
        return ListedModel(name, "Pocket model, bundled", 0, "Apache-2.0", True, loaded, answers)
    return ListedModel(name, name, None, None, True, loaded, answers)
