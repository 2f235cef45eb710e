"""What a Space is made of: its files, its front matter and its requirements, from this folder and a few choices."""

from __future__ import annotations

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
"""The versions that the hub's page on ZeroGPU lists."""
ZERO_GPU_PYTHON = ("3.12.12", "3.10.13")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
STOCK_INDEX = "https://pypi.org/simple"
_FOLDERS = ("adafv_core", "app", "assets")
_FILES = {"gradio": ("LICENSE",), "docker": ("LICENSE", "Dockerfile", ".dockerignore")}
LARGEST_BYTES = 9 * 1024**2
"""The most one file may have; all of the project's own are below it."""
_GRADIO_ONLY = ("sdk_version", "python_version", "app_file")


class SpaceError(Exception):
    """A Space that cannot be made this way; the message says what can."""


@dataclass(frozen=True)
class Space:
    """Everything that is sent.

    files: content by path in the Space. variables: environment of the running Space. left_out: new files in the
    folders that git was not told of.
    """

    repo_id: str
    sdk: str
    hardware: str
    variables: dict[str, str]
    files: dict[str, bytes]
    left_out: tuple[str, ...] = ()

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders of which nothing stays on the Space but what is sent."""
        return _FOLDERS


def make_space(repo_id: str, sdk: str, hardware: str, model: str = "auto", root: Path = ROOT) -> Space:
    """Plan a Space from the files under `root`. Raises SpaceError."""
    _check_name(repo_id)
    if hardware == ZERO_GPU and sdk != "gradio":
        raise SpaceError(
            f"{ZERO_GPU} runs Spaces of the Gradio SDK only: leave --sdk {sdk} out, or name other hardware."
        )
    variables = {"ADAFV_MODEL": model}
    if sdk == "docker":
        variables["TORCH_INDEX"] = CPU_INDEX if hardware in CPU_HARDWARE else STOCK_INDEX
    try:
        contents, left_out = _read(root, sdk)
    except GitError as error:
        raise SpaceError(str(error)) from error
    except OSError as error:
        raise SpaceError(f"{error.filename} cannot be read: {error.strerror}.") from error
    for name, change in (("README.md", readme), ("requirements.txt", requirements)):
        contents[name] = change(contents[name].decode(), sdk, hardware).encode()
    return Space(repo_id, sdk, hardware, variables, contents, tuple(left_out))


def _check_name(repo_id: str) -> None:
    expected = f"Expected OWNER/NAME, the name of a Space; got {repo_id!r}"
    if repo_id.count("/") != 1 or not all(repo_id.split("/")):
        raise SpaceError(f"{expected}.")
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise SpaceError(f"{expected}. {error}") from error


def _read(root: Path, sdk: str) -> tuple[dict[str, bytes], list[str]]:
    """Content by path, and what was left out. Raises SpaceError, GitError, OSError."""
    tops = ("README.md", "requirements.txt", *_FILES[sdk])
    missing = [name for name in (*tops, *_FOLDERS) if not (root / name).exists()]
    if missing:
        raise SpaceError(
            f"There is no {' and no '.join(missing)} in {root}: run this in a clone of the repository, which has all "
            "that a Space is made of; an installed package has not."
        )
    inside, left_out = published_files(root, _FOLDERS)
    for path in inside:
        size = (root / path).stat().st_size
        if size > LARGEST_BYTES:
            raise SpaceError(
                f"{path} has {size / 1024**2:.1f} MiB; a Space is made of files up to {LARGEST_BYTES // 1024**2} MiB. "
                "Move it out of the project's folders and run this again."
            )
    return {path: (root / path).read_bytes() for path in (*tops, *inside)}, left_out


def readme(text: str, sdk: str, hardware: str) -> str:
    """The README with the front matter for that SDK and hardware."""
    matter, body = split_front_matter(text)
    if sdk == "docker":
        matter = {key: value for key, value in matter.items() if key not in _GRADIO_ONLY}
        matter["app_port"] = 7860
    matter.update(sdk=sdk, suggested_hardware=hardware)
    if hardware == ZERO_GPU and str(matter["python_version"]) not in ZERO_GPU_PYTHON:
        raise SpaceError(
            f"ZeroGPU lists Python {' and '.join(ZERO_GPU_PYTHON)}; README.md asks for {matter['python_version']}."
        )
    return join_front_matter(matter, body)


def requirements(text: str, sdk: str, hardware: str) -> str:
    """The requirements for that SDK and hardware: CPU builds of torch on a CPU, a listed torch on ZeroGPU."""
    pins = dict(line.split("==") for line in text.splitlines() if "==" in line and not line.startswith("#"))
    if hardware == ZERO_GPU and pins["torch"] not in ZERO_GPU_TORCH:
        raise SpaceError(f"ZeroGPU lists torch {', '.join(ZERO_GPU_TORCH)}; requirements.txt pins {pins['torch']}.")
    if sdk == "gradio" and hardware in CPU_HARDWARE:
        return f"--extra-index-url {CPU_INDEX}\n{text}"
    return text


def split_front_matter(text: str) -> tuple[dict[str, Any], str]:
    """The YAML block at the top of a README, and what follows it."""
    if not text.startswith("---\n") or "\n---\n" not in text:
        raise SpaceError("README.md has no front matter: expected a YAML block between two lines of `---` at its top.")
    block, body = text[4:].split("\n---\n", 1)
    return yaml.safe_load(block), body


def join_front_matter(matter: dict[str, Any], body: str) -> str:
    """A README from its YAML block and the rest."""
    block = yaml.safe_dump(matter, sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{block}---\n{body}"
