"""SIGTERM and SIGINT in mid-answer: answers finish or end with a sentence, and the program exits within 10 s."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers.http_caller import Caller, Failed, Refused
from helpers.running_app import ROOT, free_port, wait_until_open
from PIL import Image

from app.gradio_ext.queueing import STOPPING

AS_PROCESS_1 = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child")


def process_1_works() -> bool:
    """Whether a program can be started as process 1 of a namespace of its own."""
    return shutil.which("unshare") is not None and subprocess.run([*AS_PROCESS_1, "true"], check=False).returncode == 0


@contextmanager
def program(
    log: Path, before: tuple[str, ...] = (), flags: tuple[str, ...] = ()
) -> Iterator[tuple[Caller, int, subprocess.Popen[bytes]]]:
    """The page in a process of its own: a caller, the id to send signals to, and the process."""
    port = free_port()
    with log.open("w+", encoding="utf-8") as output:
        command = [
            *before,
            sys.executable,
            str(ROOT / "app" / "main.py"),
            "--port",
            str(port),
            "--model",
            "pocket",
            *flags,
        ]
        started = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1"}, stdout=output, stderr=output
        )
        try:
            wait_until_open(started, f"http://127.0.0.1:{port}", log)
            yield Caller(f"http://127.0.0.1:{port}"), child_of(started.pid) if before else started.pid, started
        finally:
            if started.poll() is None:
                started.kill()
                started.wait(timeout=30)


def child_of(process: int) -> int:
    return int(Path(f"/proc/{process}/task/{process}/children").read_text(encoding="utf-8").split()[0])


@pytest.mark.local
@pytest.mark.parametrize(
    ("number", "before", "flags"),
    [
        pytest.param(signal.SIGTERM, AS_PROCESS_1, (), id="SIGTERM to process 1"),
        pytest.param(signal.SIGINT, (), (), id="SIGINT", marks=pytest.mark.nightly),
        pytest.param(signal.SIGTERM, (), ("--backend", "ray"), id="SIGTERM with Ray", marks=pytest.mark.nightly),
    ],
)
def test_a_signal_ends_answers_with_a_sentence_and_the_program_in_time(
    number: signal.Signals, before: tuple[str, ...], flags: tuple[str, ...], tmp_path: Path
) -> None:
    if flags:
        pytest.importorskip("ray")
    before = before if process_1_works() else ()
    picture = tmp_path / "picture.png"
    Image.new("RGB", (224, 224), "red").save(picture)
    log = tmp_path / "log"
    with program(log, before, flags) as (caller, process, started):
        sent = caller.upload(picture)
        right = caller.ask("ask", [sent, "What color is it?", 0.1, "adafv", 8])["answer"]
        outcomes: list[str] = []

        def keep_asking(session: str, endpoint: str) -> None:
            asked = [sent, "What color is it?", 0.1, "adafv", 8] if endpoint == "ask" else [["adafv"], [0.1, 0.2], 300]
            while not outcomes or outcomes[-1] is not STOPPING:
                try:
                    outcomes.append(caller.ask(endpoint, asked, session)["answer"])
                except (Failed, Refused) as ended:
                    outcomes.append(f"{ended.status if isinstance(ended, Refused) else 'ended'}: {ended}")
                    return
                except Exception as broken:
                    outcomes.append(f"broken: {broken!r}")
                    return

        threads = [threading.Thread(target=keep_asking, args=(f"s{n}", "ask")) for n in range(6)]
        threads.append(threading.Thread(target=keep_asking, args=("s", "study")))
        for thread in threads:
            thread.start()
        end = time.monotonic() + 30
        while len(outcomes) < 6 and time.monotonic() < end:
            time.sleep(0.02)
        began = time.monotonic()
        os.kill(process, number)
        code = started.wait(timeout=20)
        took_s = time.monotonic() - began
        for thread in threads:
            thread.join(timeout=20)
    answers = [one for one in outcomes if one == right]
    endings = [one for one in outcomes if one != right]
    assert len(answers) >= 6 and len(endings) == len(threads)
    assert all(STOPPING in one for one in endings), endings
    assert code == 0 and took_s < 10, log.read_text(encoding="utf-8")
    said = log.read_text(encoding="utf-8")
    assert "Stopping: running answers may finish" in said and "Traceback" not in said


@pytest.mark.local
def test_a_signal_before_the_page_is_open_ends_the_program() -> None:
    code = (
        "import os, signal, sys, time; from app.stopping import end_at_once_on_signals; end_at_once_on_signals();"
        "print('ready', flush=True); time.sleep(60)"
    )
    started = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert started.stdout is not None and started.stdout.readline() == b"ready\n"
    started.send_signal(signal.SIGTERM)
    _, said = started.communicate(timeout=30)
    assert started.returncode == 0 and said == b"Stopped before the page was open.\n"
