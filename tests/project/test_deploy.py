"""Deploying: what is planned, and what is sent to a stand-in for the hub."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.deploying import ROOT, deploy
from helpers.hub_stand_in import TOKEN, Hub, running_hub

from adafv_core.loading.known_models import find_known
from app.deploy.space import (
    CPU_INDEX,
    FRONT_MATTER,
    ZERO_GPU_PYTHON,
    ZERO_GPU_TORCH,
    Space,
    SpaceError,
    front_matter,
    make_space,
    read_front_matter,
    readme,
    requirements,
)

COLORS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
REQUIREMENTS = (ROOT / "requirements.txt").read_text(encoding="utf-8")


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as running:
        yield running


def matter_of(space: Space) -> dict[str, object]:
    return read_front_matter(space.files["README.md"].decode())


def test_the_front_matter_is_what_a_space_takes() -> None:
    matter = FRONT_MATTER
    pins = dict(re.findall(r"^(\w+)==(\S+)$", REQUIREMENTS, re.MULTILINE))
    assert matter["sdk"] == "gradio" and matter["sdk_version"] == pins["gradio"]
    assert (ROOT / matter["app_file"]).is_file()
    assert str(matter["python_version"]) in ZERO_GPU_PYTHON
    assert len(matter["short_description"]) <= 60
    assert {matter["colorFrom"], matter["colorTo"]} <= COLORS
    assert all(find_known(model) for model in matter["models"])
    assert re.fullmatch(r"\d+[mh]", matter["startup_duration_timeout"])
    assert matter["license"] == "apache-2.0" and "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_a_zero_gpu_space() -> None:
    space = make_space("owner/name", "gradio", "zero-a10g")
    matter = matter_of(space)
    assert (matter["sdk"], matter["app_file"], matter["suggested_hardware"]) == ("gradio", "app/main.py", "zero-a10g")
    assert space.files["requirements.txt"].decode() == REQUIREMENTS
    assert {f"torch=={version}" for version in ZERO_GPU_TORCH} & set(REQUIREMENTS.splitlines())
    assert space.variables == {"ADAFV_MODEL": "auto"}
    assert {"app/main.py", "adafv_core/engine/engine.py", "assets/pocket/config.json", "LICENSE"} <= set(space.files)
    assert "Dockerfile" not in space.files
    assert not [path for path in space.files if "__pycache__" in path or path.endswith(".pyc") or "test" in path]


def test_a_docker_space() -> None:
    space = make_space("owner/name", "docker", "t4-small", "llava-hf/llava-1.5-13b-hf")
    matter = matter_of(space)
    assert (matter["sdk"], matter["app_port"]) == ("docker", 7860)
    assert not {"sdk_version", "app_file", "python_version"} & set(matter)
    assert space.variables == {"ADAFV_MODEL": "llava-hf/llava-1.5-13b-hf", "TORCH_INDEX": "https://pypi.org/simple"}
    assert {"Dockerfile", ".dockerignore"} <= set(space.files)
    assert make_space("owner/name", "docker", "cpu-basic").variables["TORCH_INDEX"] == CPU_INDEX
    assert "ARG TORCH_INDEX" in space.files["Dockerfile"].decode()


def test_a_cpu_space_gets_the_cpu_build_of_torch() -> None:
    text = make_space("owner/name", "gradio", "cpu-basic").files["requirements.txt"].decode()
    assert text == f"--extra-index-url {CPU_INDEX}\n{REQUIREMENTS}"


def test_what_cannot_be_made() -> None:
    with pytest.raises(SpaceError, match="Gradio SDK only"):
        make_space("owner/name", "docker", "zero-a10g")
    with pytest.raises(SpaceError, match="OWNER/NAME"):
        make_space("name", "gradio", "cpu-basic")
    for name in ("own er/na me", "owner/-name", "owner/na..me", "owner/name.git", f"owner/{'n' * 120}"):
        with pytest.raises(SpaceError, match="OWNER/NAME"):
            make_space(name, "gradio", "cpu-basic")
    with pytest.raises(SpaceError, match=r"lists torch .* pins 2\.3\.1"):
        requirements("torch==2.3.1\n", "gradio", "zero-a10g")
    with pytest.raises(SpaceError, match="lists Python"):
        front_matter("gradio", "zero-a10g", {"python_version": "3.11.7"})


def test_the_front_matter_is_put_on_once() -> None:
    """Also in the clone of a Space, whose README has one: of the SDK it was last deployed with."""
    text = "# A page\n\n---\n\nA rule above.\n"
    once = readme(text, "docker", "t4-small")
    assert once.startswith("---\ntitle: AdaFV\n") and once.endswith(f"\n---\n{text}")
    assert readme(once, "gradio", "cpu-basic") == readme(text, "gradio", "cpu-basic")
    assert read_front_matter(text) == {} and read_front_matter(once) == front_matter("docker", "t4-small")


def test_it_makes_a_space_and_then_updates_it(hub: Hub, tmp_path: Path) -> None:
    done = deploy(hub, tmp_path, "owner/name", "--hardware", "cpu-basic")
    assert done.returncode == 0, done.stderr
    assert f"{hub.address}/spaces/owner/name" in done.stdout
    space = hub.spaces["owner/name"]
    planned = make_space("owner/name", "gradio", "cpu-basic")
    assert {path: space["files"][path] for path in planned.files} == planned.files
    assert (space["sdk"], space["hardware"], space["commits"]) == ("gradio", "cpu-basic", 1)
    assert space["variables"]["ADAFV_MODEL"]["value"] == "auto"
    assert any(path.startswith("/lfs/") for _, path, _ in hub.requests)
    assert not any("xet" in path for _, path, _ in hub.requests)
    to_the_api = {header for _, path, header in hub.requests if path.startswith("/api/")}
    assert to_the_api == {f"Bearer {TOKEN}"}
    assert not any(TOKEN in path for _, path, _ in hub.requests)

    space["files"] |= {"app/gone.py": b"old", "notes.txt": b"of the owner's own"}
    done = deploy(hub, tmp_path, "owner/name", "--hardware", "t4-small")
    assert done.returncode == 0, done.stderr
    assert "removed 1" in done.stdout
    assert "app/gone.py" not in space["files"] and "notes.txt" in space["files"]
    assert (space["hardware"], space["commits"]) == ("t4-small", 2)


def test_a_dry_run_sends_nothing(hub: Hub, tmp_path: Path) -> None:
    done = deploy(hub, tmp_path, "owner/name", "--dry-run", token="")
    assert done.returncode == 0, done.stderr
    shown = ("zero-a10g", "app_file: app/main.py", "torch==2.13.0", "assets/pocket/config.json", "nothing was sent")
    assert not [expected for expected in shown if expected not in done.stdout]
    assert hub.requests == []


def test_without_a_token_it_says_how_to_give_one(hub: Hub, tmp_path: Path) -> None:
    done = deploy(hub, tmp_path, "owner/name", token="")
    assert done.returncode == 1 and "HF_TOKEN" in done.stderr and "hf auth login" in done.stderr
    assert hub.requests == []
