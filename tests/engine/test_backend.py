"""Every engine is a `Backend`: what the page, the study and the timing ask of a model, argument by argument."""

from __future__ import annotations

import inspect
from typing import get_type_hints

import pytest

from adafv_core.backends.base import Backend
from adafv_core.engine import Engine, load
from app.serving.zero_gpu import ZeroGpuEngine

MEMBERS = [name for name in vars(Backend) if not name.startswith("_")]
CALLS = [name for name in MEMBERS if inspect.isfunction(vars(Backend)[name])]


@pytest.fixture(scope="module", params=["local", "ZeroGPU"])
def engine(request: pytest.FixtureRequest) -> Backend:
    local = load("pocket", device="cpu")
    return local if request.param == "local" else ZeroGpuEngine(local)


def test_a_loaded_engine_has_all_that_a_backend_has(engine: Backend) -> None:
    assert isinstance(engine, Backend) and len(MEMBERS) > len(CALLS) > 0
    for name in set(MEMBERS) - set(CALLS):
        value = getattr(engine, name)
        assert isinstance(value, get_type_hints(vars(Backend)[name].fget)["return"]), name


@pytest.mark.parametrize("kind", [Engine, ZeroGpuEngine])
@pytest.mark.parametrize("call", CALLS)
def test_a_call_takes_the_arguments_of_the_protocol(kind: type[Backend], call: str) -> None:
    """Same names, order, kinds and defaults, so that whoever calls one engine can call every other."""
    asked, offered = (inspect.signature(vars(one)[call]).parameters.values() for one in (Backend, kind))
    assert [(one.name, one.kind, one.default) for one in offered] == [
        (one.name, one.kind, one.default) for one in asked
    ]
