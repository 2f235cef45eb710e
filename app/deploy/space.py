"""Plans a Space: its files, front matter and requirements, from a clone and a few choices."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from app.deploy.git_files import GitError, published_files

ROOT = Path(__file__).resolve().parents[2]
SDKS = ("gradio", "docker")
CPU_HARDWARE = ("cpu-basic", "cpu-upgrade")
ZERO_GPU = "zero-a10g"
ZERO_GPU_TORCH = ("2.8.0", "2.9.1", "2.10.0", "2.11.0", "2.12.1", "2.13.0")
"""The torch versions that the Hub's page on ZeroGPU lists."""
ZERO_GPU_PYTHON = ("3.12.12", "3.10.13")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
STOCK_INDEX = "https://pypi.org/simple"
FOLDERS = ("adafv_core", "app", "assets")
"""Folders that hold exactly what is sent: an update removes everything else from them."""
LARGEST_BYTES = 9 * 1024**2
"""The largest file allowed; all of the project's own are smaller."""
FRONT_MATTER: Mapping[str, Any] = yaml.safe_load(Path(__file__).with_name("space.yaml").read_text(encoding="utf-8"))
_TOP_LEVEL = {"gradio": ("LICENSE",), "docker": ("LICENSE", "Dockerfile", ".dockerignore")}
_GRADIO_ONLY = ("sdk_version", "python_version", "app_file")
_BLOCK = re.compile(r"\A---\n(.*?)^---\n", re.MULTILINE | re.DOTALL)


class SpaceError(Exception):
    """A Space that cannot be made this way; the message says which one can."""


@dataclass(frozen=True)
class Space:
    """Everything that is sent.

    files: content by path in the Space. variables: environment of the running Space. untracked: files in FOLDERS that
    are not in git and therefore not sent.
    """

    repo_id: str
    sdk: str
    hardware: str
    variables: dict[str, str]
    files: dict[str, bytes]
    untracked: tuple[str, ...] = ()


def make_space(repo_id: str, sdk: str, hardware: str, model: str = "auto", root: Path = ROOT) -> Space:
    """Plan a Space from the files under `root`. Raises SpaceError."""
    _check_name(repo_id)
    if hardware == ZERO_GPU and sdk != "gradio":
        raise SpaceError(f"{ZERO_GPU} runs Spaces of the Gradio SDK only: omit --sdk {sdk}, or choose other hardware.")
    variables = {"ADAFV_MODEL": model}
    if sdk == "docker":
        variables["TORCH_INDEX"] = CPU_INDEX if hardware in CPU_HARDWARE else STOCK_INDEX
    try:
        files, untracked = _read(root, sdk)
    except GitError as error:
        raise SpaceError(str(error)) from error
    except OSError as error:
        raise SpaceError(f"{error.filename} cannot be read: {error.strerror}.") from error
    for name, change in (("README.md", readme), ("requirements.txt", requirements)):
        files[name] = change(files[name].decode(), sdk, hardware).encode()
    return Space(repo_id, sdk, hardware, variables, files, tuple(untracked))


def _check_name(repo_id: str) -> None:
    expected = f"Expected OWNER/NAME, the name of a Space; got {repo_id!r}"
    if repo_id.count("/") != 1 or not all(repo_id.split("/")):
        raise SpaceError(f"{expected}.")
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise SpaceError(f"{expected}. {error}") from error


def _read(root: Path, sdk: str) -> tuple[dict[str, bytes], list[str]]:
    """Content by path, and the untracked files. Raises SpaceError, GitError, OSError."""
    top_level = ("README.md", "requirements.txt", *_TOP_LEVEL[sdk])
    missing = [name for name in (*top_level, *FOLDERS) if not (root / name).exists()]
    if missing:
        raise SpaceError(
            f"There is no {' and no '.join(missing)} in {root}: run this in a clone of the repository, which has "
            "everything a Space is made of; an installed package does not."
        )
    published, untracked = published_files(root, FOLDERS)
    for path in published:
        size = (root / path).stat().st_size
        if size > LARGEST_BYTES:
            raise SpaceError(
                f"{path} has {size / 1024**2:.1f} MiB; a Space is made of files up to {LARGEST_BYTES // 1024**2} MiB. "
                "Move it out of the project's folders and run this again."
            )
    return {path: (root / path).read_bytes() for path in (*top_level, *published)}, untracked


def front_matter(sdk: str, hardware: str, template: Mapping[str, Any] = FRONT_MATTER) -> dict[str, Any]:
    """What the Hub reads at the top of a Space's README.md. Raises SpaceError for a Python that ZeroGPU lacks."""
    if hardware == ZERO_GPU and str(template["python_version"]) not in ZERO_GPU_PYTHON:
        raise SpaceError(
            f"ZeroGPU lists Python {' and '.join(ZERO_GPU_PYTHON)}; space.yaml asks for {template['python_version']}."
        )
    chosen = {"sdk": sdk, "suggested_hardware": hardware}
    if sdk == "docker":
        template = {key: value for key, value in template.items() if key not in _GRADIO_ONLY}
        chosen["app_port"] = 7860
    return {**template, **chosen}


def readme(text: str, sdk: str, hardware: str) -> str:
    """The README with the front matter for that SDK and hardware, instead of any that it has (in a cloned Space)."""
    block = yaml.safe_dump(front_matter(sdk, hardware), sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{block}---\n{_BLOCK.sub('', text)}"


def read_front_matter(text: str) -> dict[str, Any]:
    """The YAML block at the top of a README; empty if there is none."""
    found = _BLOCK.match(text)
    return dict(yaml.safe_load(found[1])) if found else {}


def requirements(text: str, sdk: str, hardware: str) -> str:
    """The requirements for that SDK and hardware: the CPU build of torch on a CPU, a listed torch on ZeroGPU."""
    pins = dict(line.split("==") for line in text.splitlines() if "==" in line and not line.startswith("#"))
    if hardware == ZERO_GPU and pins["torch"] not in ZERO_GPU_TORCH:
        raise SpaceError(f"ZeroGPU lists torch {', '.join(ZERO_GPU_TORCH)}; requirements.txt pins {pins['torch']}.")
    if sdk == "gradio" and hardware in CPU_HARDWARE:
        return f"--extra-index-url {CPU_INDEX}\n{text}"
    return text
