"""Runs `python -m app.deploy` against the stand-in for the hub, as a user does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from helpers.hub_stand_in import TOKEN, Hub

ROOT = Path(__file__).resolve().parents[2]


def start(hub: Hub, home: Path, *arguments: str, token: str = TOKEN) -> subprocess.Popen[str]:
    """The program, started."""
    stock = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    variables = {
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        **({"HF_TOKEN": token} if token else {}),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "app.deploy", *arguments],
        cwd=ROOT,
        env={**stock, **variables},
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=_heed_ctrl_c,
    )


def _heed_ctrl_c() -> None:
    """A child inherits ignored signals, and tests that were started in the background (`nohup … &`) ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def finish(running: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """What it printed; neither the token nor a traceback is ever in it."""
    out, err = running.communicate(timeout=300)
    assert TOKEN not in out + err and "Traceback" not in out + err
    return subprocess.CompletedProcess(running.args, running.returncode, out, err)


def deploy(hub: Hub, home: Path, *arguments: str, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    """`python -m app.deploy …`, carried out."""
    return finish(start(hub, home, *arguments, token=token))
