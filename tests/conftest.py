"""What holds in every test: no request leaves the machine, and nothing is asked of a model hub.

Also the order of the test files, for `tests/run.py`.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

for name in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
    os.environ[name] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
    os.environ.pop(name, None)


LONGEST_FIRST = (
    "test_browser_stop.py",
    "test_browser_looks.py",
    "test_browser_explore.py",
    "test_browser_models.py",
    "test_browser_drawing.py",
    "test_house.py",
    "test_families.py",
    "test_programs.py",
    "test_model.py",
    "test_space.py",
    "test_package.py",
    "test_readme.py",
    "test_patching.py",
    "test_browser_core.py",
    "test_downloading.py",
    "test_training.py",
    "test_report.py",
    "test_resuming.py",
)
"""Files that take longest, so that with files distributed over processes none of them is the only one left."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m alone`, import only files that have such a test: importing all takes longer than running those."""
    if config.getoption("markexpr") != "alone" or collection_path.suffix != ".py":
        return None
    return True if "pytest.mark.alone" not in collection_path.read_text(encoding="utf-8") else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))
    backend = os.environ.get("ADAFV_BACKEND", "local")
    if backend != "local":
        elsewhere = pytest.mark.skip(reason=f"the model is not in this process with ADAFV_BACKEND={backend}")
        for item in items:
            if item.get_closest_marker("local"):
                item.add_marker(elsewhere)


class LeftTheMachine(BaseException):
    """A test tried to reach another machine. Not an Exception, so that no `except Exception` hides it."""


@pytest.fixture(autouse=True, scope="session")
def _stay_on_this_machine() -> Iterator[None]:
    stock = socket.socket.connect, socket.socket.connect_ex

    def check(family: int, address: Any) -> None:
        if family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(str(address[0])):
            raise LeftTheMachine(f"a test opened a connection to {address[0]}:{address[1]}")

    def connect(self: socket.socket, address: Any) -> None:
        check(self.family, address)
        return stock[0](self, address)

    def connect_ex(self: socket.socket, address: Any) -> int:
        check(self.family, address)
        return stock[1](self, address)

    socket.socket.connect, socket.socket.connect_ex = connect, connect_ex  # type: ignore[method-assign]
    yield
    socket.socket.connect, socket.socket.connect_ex = stock  # type: ignore[method-assign]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.split("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"
