"""Every engine is a `Backend`: what the page, the study and the timing ask of a model, checked in one place."""

from __future__ import annotations

import inspect
from typing import get_type_hints

import pytest

from adafv_core.backends.remote import RemoteEngine
from adafv_core.engine import Engine, load
from adafv_core.engine.backend import Backend
from app.serving.zero_gpu import ZeroGpuEngine

MEMBERS = get_type_hints(Backend)
CALLS = [name for name, value in vars(Backend).items() if inspect.isfunction(value) and not name.startswith("_")]


@pytest.fixture(scope="module", params=["local", "ZeroGPU"])
def engine(request: pytest.FixtureRequest) -> Backend:
    local = load("pocket", device="cpu")
    return local if request.param == "local" else ZeroGpuEngine(local)


def test_a_loaded_engine_has_all_that_a_backend_has(engine: Backend) -> None:
    assert isinstance(engine, Backend) and len(MEMBERS) > 0
    for name, kind in MEMBERS.items():
        assert isinstance(getattr(engine, name), kind), name


@pytest.mark.parametrize("kind", [Engine, RemoteEngine, ZeroGpuEngine])
@pytest.mark.parametrize("call", sorted(set(CALLS) - {"clear_cache"}))
def test_a_call_takes_the_arguments_of_every_backend(kind: type[Backend], call: str) -> None:
    """It is the one that `Backend` defines and checks, so that whoever calls one engine can call every other."""
    assert getattr(kind, call) is vars(Backend)[call]
