"""The app as a program of its own: started as a user starts it, on a free port, ended after the test."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LONGEST_START_S = 240


@contextmanager
def running_app(
    *command: str,
    cwd: Path = ROOT,
    variables: dict[str, str] | None = None,
    by_flag: bool = False,
    python: str = sys.executable,
) -> Iterator[tuple[str, list[str]]]:
    """Run `python *command` (`-m app` by default); yields its address and the lines it has printed so far.

    by_flag: pass the port as `--port`, not in the environment alone. python: the interpreter.
    """
    port = free_port()
    flags = ("--port", str(port)) if by_flag else ()
    surroundings = {
        **os.environ,
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SERVER_PORT": str(port),
        "PYTHONUNBUFFERED": "1",
        **(variables or {}),
    }
    log = cwd / f"app-{port}.log" if cwd != ROOT else ROOT / "build" / f"app-{port}.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("w+", encoding="utf-8") as output:
        program = subprocess.Popen(
            [python, *(command or ("-m", "app")), *flags],
            cwd=cwd,
            env=surroundings,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            wait_until_open(program, address, log)
            yield address, log.read_text(encoding="utf-8").splitlines()
        finally:
            program.terminate()
            program.wait(timeout=30)
            log.unlink()


def wait_until_open(program: subprocess.Popen[bytes], address: str, log: Path) -> None:
    """Return when the page answers and the program has said where it is open."""
    end = time.monotonic() + LONGEST_START_S
    while time.monotonic() < end:
        assert program.poll() is None, f"the app ended:\n{log.read_text(encoding='utf-8')}"
        try:
            with urllib.request.urlopen(f"{address}/config", timeout=5) as answer:
                assert answer.status == 200
                if "AdaFV is open at" in log.read_text(encoding="utf-8"):
                    return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.25)
    raise AssertionError(f"the app did not open in {LONGEST_START_S} s:\n{log.read_text(encoding='utf-8')}")


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
