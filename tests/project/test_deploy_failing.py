"""Deploying where something fails: one sentence, no traceback, no token, and what is left to do."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.deploying import deploy, finish, start
from helpers.hub_stand_in import TOKEN, Hub, running_hub

from app.deploy import __main__ as command
from app.deploy.__main__ import without_secrets

ARGUMENTS = ("owner/name", "--hardware", "t4-small")
NO_RIGHT = {"error": f"Token {TOKEN} may not write"}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as running:
        yield running


def test_a_refusal_is_one_sentence_without_the_token(hub: Hub, tmp_path: Path) -> None:
    hub.refuse = f"Token {TOKEN} may not create repositories here"
    done = deploy(hub, tmp_path, *ARGUMENTS)
    assert done.returncode == 1 and "The Hub refused" in done.stderr and "may not create" in done.stderr
    assert "Done: nothing." in done.stderr


def test_an_unreachable_hub_is_one_sentence(hub: Hub, tmp_path: Path) -> None:
    hub.address = "http://127.0.0.1:9"
    done = deploy(hub, tmp_path, *ARGUMENTS)
    assert done.returncode == 1 and "could not be reached" in done.stderr


@pytest.mark.parametrize("step", ["preupload", "batch", "lfs", "commit"])
def test_files_that_are_refused(hub: Hub, tmp_path: Path, step: str) -> None:
    hub.failing[step] = 403, NO_RIGHT
    done = deploy(hub, tmp_path, *ARGUMENTS)
    assert done.returncode == 1 and "The Hub refused" in done.stderr and "may not write" in done.stderr
    assert ("model-0000" in done.stderr) == (step == "lfs")
    assert "Done: the Space exists, its variables are set. Left to do: send its files, request" in done.stderr
    assert hub.spaces["owner/name"]["commits"] == 0


@pytest.mark.parametrize(
    ("step", "answer"),
    [("create", ["x"]), ("preupload", {"files": "none"}), ("batch", {"objects": [{}]}), ("commit", ["x"])],
)
def test_an_answer_of_another_form(hub: Hub, tmp_path: Path, step: str, answer: Any) -> None:
    hub.failing[step] = 200, answer
    done = deploy(hub, tmp_path, *ARGUMENTS)
    assert done.returncode == 1 and "could not be understood" in done.stderr and "Left to do: " in done.stderr


def test_hardware_that_is_not_paid_for_comes_after_the_files(hub: Hub, tmp_path: Path) -> None:
    assert deploy(hub, tmp_path, "owner/name", "--hardware", "cpu-basic").returncode == 0
    hub.failing["hardware"] = 402, {"error": "Payment required"}
    done = deploy(hub, tmp_path, *ARGUMENTS)
    assert done.returncode == 1 and "The Hub refused: Payment required\n" in done.stderr
    assert "its files are sent. Left to do: request its hardware; run the same command" in done.stderr
    assert hub.spaces["owner/name"]["commits"] == 2 and "Sent " in done.stdout


def test_ctrl_c_says_what_is_left(hub: Hub, tmp_path: Path) -> None:
    hub.hanging = "commit"
    running = start(hub, tmp_path, *ARGUMENTS)
    assert hub.reached.wait(120)
    running.send_signal(signal.SIGINT)
    done = finish(running)
    assert done.returncode == 130 and "\nStopped. Done: the Space exists" in done.stderr


def test_a_mistake_of_the_program_is_one_sentence_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> Iterator[str]:
        raise ZeroDivisionError(f"by {TOKEN}")

    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(command, "send", broken)
    assert command.main(ARGUMENTS) == 1
    said = capsys.readouterr().err
    assert "ZeroDivisionError" in said and TOKEN not in said


def test_what_is_printed_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "of-another-form")
    text = f"of-another-form and {TOKEN} at 'https://bucket.example/part?X-Signature=abc&x=1' failed"
    assert without_secrets(text) == "… and … at 'https://bucket.example/part?…' failed"
