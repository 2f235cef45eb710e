"""The loaded models: the one the app started with stays; one other is loaded beside it when asked for."""

from __future__ import annotations

import gc
import threading
from collections import OrderedDict
from collections.abc import Callable

import torch

from adafv_core.errors import OutOfMemoryError
from adafv_core.loading.download import Report
from app.serving.jobs import Engine
from app.serving.model_load import Load

_MOST_BESIDE = 1


class Garage:
    """Engines by name. A failed load changes nothing; while one model loads, those that are there answer.

    load: from a model name, and whom to tell how far its download is, to an engine; raises ModelError.
    """

    def __init__(self, first: str, engine: Engine, load: Callable[[str, Report], Engine]) -> None:
        self.first = first
        self._make = load
        self._first_engine = engine
        self._beside: OrderedDict[str, Engine] = OrderedDict()
        self._coming: dict[str, Load] = {}
        self._changing = threading.Lock()
        self._one_at_a_time = threading.Lock()

    def engine(self, name: str) -> Engine:
        """The engine of that name, loaded now if it is not there."""
        return self.load(name).engine()

    def load(self, name: str) -> Load:
        """Begin to load a model, or join those who wait for it already. One that is there is there at once."""
        with self._changing:
            if name in self._coming:
                return self._coming[name]
            load = Load(name)
            there = self._first_engine if name == self.first else self._beside.get(name)
            if there is None:
                self._coming[name] = load
            elif name in self._beside:
                self._beside.move_to_end(name)
        if there is None:
            threading.Thread(target=self._fetch, args=(load,), name="adafv-load", daemon=True).start()
        else:
            load.finish(there)
        return load

    def loaded(self) -> tuple[str, ...]:
        """Names of the models that are ready."""
        return (self.first, *self._beside)

    def _fetch(self, load: Load) -> None:
        try:
            with self._one_at_a_time:
                engine = self._made(load)
                with self._changing:
                    self._beside[load.name] = engine
                    while len(self._beside) > _MOST_BESIDE:
                        self._beside.popitem(last=False)
        except BaseException as error:
            self._gone(load)
            load.fail(error)
        else:
            self._gone(load)
            load.finish(engine)

    def _gone(self, load: Load) -> None:
        with self._changing:
            del self._coming[load.name]

    def _made(self, load: Load) -> Engine:
        """The engine; where memory does not hold it beside the others, in place of those that would leave anyway."""
        engine = self._tried(load)
        if engine is None and self._beside:
            with self._changing:
                self._beside.clear()
            engine = self._tried(load)
        if engine is None:
            raise OutOfMemoryError(f"{load.name} does not fit into this device's memory: choose a smaller model.")
        return engine

    def _tried(self, load: Load) -> Engine | None:
        gc.collect()
        torch.cuda.empty_cache()
        try:
            return self._make(load.name, load.report)
        except (torch.OutOfMemoryError, OutOfMemoryError):
            return None
