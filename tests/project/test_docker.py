"""The Dockerfile, read: order of layers, user, port, health check, and what is sent to the builder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from helpers.dockerfile import Instruction, filled_in, read_dockerfile, sent_files
from helpers.local_server import served

from app.deploy.space import FRONT_MATTER

ROOT = Path(__file__).resolve().parents[2]
INSTRUCTIONS = read_dockerfile(ROOT / "Dockerfile")
KNOWN = {"FROM", "ARG", "ENV", "RUN", "USER", "WORKDIR", "COPY", "EXPOSE", "HEALTHCHECK", "CMD"}


def named(name: str) -> list[Instruction]:
    return [one for one in INSTRUCTIONS if one.name == name]


def environment() -> dict[str, str]:
    return {key: value for one in named("ENV") for key, value in (word.split("=", 1) for word in one.words)}


def place(name: str, text: str = "") -> int:
    return next(i for i, one in enumerate(INSTRUCTIONS) if one.name == name and text in one.text)


def test_only_instructions_that_are_known() -> None:
    assert {one.name for one in INSTRUCTIONS} <= KNOWN
    assert INSTRUCTIONS[0].name == "FROM" and INSTRUCTIONS[-1].name == "CMD"
    assert len(named("FROM")) == len(named("CMD")) == len(named("HEALTHCHECK")) == 1


def test_the_base_is_pinned_to_the_python_of_the_commands() -> None:
    assert re.fullmatch(r"python:3\.11-slim-\w+", named("FROM")[0].text)


def test_it_runs_as_user_1000() -> None:
    (user,) = named("USER")
    assert user.text == "1000"
    assert "--uid 1000 user" in INSTRUCTIONS[place("RUN", "useradd")].text
    assert place("RUN", "useradd") < place("USER") < place("WORKDIR") < place("COPY")
    assert all("--chown=user" in one.flags for one in named("COPY"))
    assert not [one for one in named("RUN") if "sudo" in one.text or "chmod" in one.text]


def test_its_caches_lie_in_the_users_home() -> None:
    values = environment()
    assert values["HOME"] == "/home/user" and values["HF_HOME"].startswith("/home/user/")
    assert named("WORKDIR")[0].text.startswith("/home/user/")
    assert place("USER") < place("RUN", 'mkdir -p "$HF_HOME"')


def test_it_listens_on_7860_for_everyone() -> None:
    values = environment()
    assert (values["GRADIO_SERVER_NAME"], values["GRADIO_SERVER_PORT"]) == ("0.0.0.0", "7860")
    assert named("EXPOSE")[0].text == "7860"


def test_layers_that_change_seldom_come_first() -> None:
    assert place("COPY", "requirements.txt") < place("RUN", "pip install") < place("COPY", "README.md")
    installs = INSTRUCTIONS[place("RUN", "pip install")].text
    assert "--no-cache-dir" in installs and "-r requirements.txt" in installs and '"$TORCH_INDEX"' in installs
    assert filled_in('"$TORCH_INDEX"', {"TORCH_INDEX": "x"}) == '"x"'
    assert place("COPY", "assets") < place("COPY", "adafv_core") < place("COPY", "app ")


def test_nothing_needed_is_left_out_and_nothing_else_is_sent() -> None:
    """By .dockerignore: what COPY names is sent, caches and secrets are not."""
    sent = {path.relative_to(ROOT).as_posix() for path in sent_files(ROOT, ROOT / ".dockerignore")}
    for one in named("COPY"):
        for source in one.words[:-1]:
            assert any(path == source or path.startswith(f"{source}/") for path in sent), f"{source} is not sent"
    assert {"assets/pocket/config.json", "app/main.py", "app/static/ui/state.js"} <= sent
    assert not [path for path in sent if "/." in path or path.startswith(".")]
    tops = {path.split("/")[0] for path in sent}
    assert tops == {"requirements.txt", "LICENSE", "README.md", "assets", "adafv_core", "app"}
    assert not [path for path in sent if "__pycache__" in path or path.endswith(".pyc")]


def test_ignoring_follows_the_last_pattern(tmp_path: Path) -> None:
    for name in ("keep/a.py", "keep/__pycache__/a.pyc", "secret.env", "other/b.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    rules = tmp_path / "rules"
    rules.write_text("*\n!keep\n**/__pycache__\n")
    assert [path.name for path in sent_files(tmp_path, rules)] == ["a.py"]


def test_the_app_finds_all_it_needs_among_the_files_sent(tmp_path: Path) -> None:
    """The program's help from a folder that has only these files."""
    for path in sent_files(ROOT, ROOT / ".dockerignore"):
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    command = [sys.executable, *named("CMD")[0].words[1:], "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "--model" in done.stdout, done.stderr


@pytest.mark.parametrize("secret", ["app/.env", "assets/.DS_Store", "app/.ipynb_checkpoints/a.py", "app/prod.env"])
def test_secrets_and_leftovers_are_not_sent(tmp_path: Path, secret: str) -> None:
    for name in (secret, "app/main.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert [path.name for path in sent_files(tmp_path, ROOT / ".dockerignore")] == ["main.py"]


@pytest.mark.parametrize("variable", ["GRADIO_SERVER_PORT", "OTHER"])
def test_the_health_check_asks_the_port_that_is_set(variable: str) -> None:
    """Run against a server that knows /config alone."""
    words = Instruction("CMD", named("HEALTHCHECK")[0].text.split("CMD ", 1)[1]).words
    assert words[:2] == ["python", "-c"] and " or 7860}/config" in words[2]

    class Config(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/config" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    with served(Config) as address:
        surroundings = {**os.environ, "GRADIO_SERVER_PORT": "9", variable: address.rsplit(":", 1)[1]}
        done = subprocess.run([sys.executable, *words[1:]], env=surroundings, capture_output=True, timeout=60)
    assert (done.returncode == 0) == (variable == "GRADIO_SERVER_PORT")


def test_the_health_check_waits_for_a_download_as_long_as_a_space_does() -> None:
    assert f"--start-period={FRONT_MATTER['startup_duration_timeout']}" in named("HEALTHCHECK")[0].flags


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = shutil.which("hadolint", path=os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]]))
    assert hadolint, "hadolint comes with requirements-test.txt"
    done = subprocess.run([hadolint, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout == "", done.stdout
