"""The loaded models: the one the app started with stays; one other is loaded beside it when asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from app.bench import Engine

_MOST_BESIDE = 1


class Garage:
    """Engines by name. A failed load changes nothing.

    load: from a model name to an engine; raises ModelError.
    """

    def __init__(self, first: str, engine: Engine, load: Callable[[str], Engine]) -> None:
        self.first = first
        self._load = load
        self._first_engine = engine
        self._beside: OrderedDict[str, Engine] = OrderedDict()
        self._loading = threading.Lock()

    def engine(self, name: str) -> Engine:
        """The engine of that name, loaded now if it is not there."""
        if name == self.first:
            return self._first_engine
        with self._loading:
            if name not in self._beside:
                loaded = self._load(name)
                while len(self._beside) >= _MOST_BESIDE:
                    self._beside.popitem(last=False)
                self._beside[name] = loaded
            self._beside.move_to_end(name)
            return self._beside[name]

    def loaded(self) -> tuple[str, ...]:
        """Names of the models that are ready."""
        return (self.first, *self._beside)
