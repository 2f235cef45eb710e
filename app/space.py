"""What a Space is made of: its files, its front matter and its requirements, from this folder and a few choices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
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
_LEFT_OUT = {"__pycache__", ".mypy_cache", ".ruff_cache"}
_GRADIO_ONLY = ("sdk_version", "python_version", "app_file")


class SpaceError(Exception):
    """A Space that cannot be made this way; the message says what can."""


@dataclass(frozen=True)
class Space:
    """Everything that is sent. files: content by path in the Space. variables: environment of the running Space."""

    repo_id: str
    sdk: str
    hardware: str
    variables: dict[str, str]
    files: dict[str, bytes]

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders of which nothing stays on the Space but what is sent."""
        return _FOLDERS


def make_space(repo_id: str, sdk: str, hardware: str, model: str = "auto", root: Path = ROOT) -> Space:
    """Plan a Space from the files under `root`. Raises SpaceError."""
    if repo_id.count("/") != 1 or not all(repo_id.split("/")):
        raise SpaceError(f"Expected OWNER/NAME, the name of a Space; got {repo_id!r}.")
    if hardware == ZERO_GPU and sdk != "gradio":
        raise SpaceError(
            f"{ZERO_GPU} runs Spaces of the Gradio SDK only: leave --sdk {sdk} out, or name other hardware."
        )
    variables = {"ADAFV_MODEL": model}
    if sdk == "docker":
        variables["TORCH_INDEX"] = CPU_INDEX if hardware in CPU_HARDWARE else STOCK_INDEX
    files = {
        "README.md": readme((root / "README.md").read_text(encoding="utf-8"), sdk, hardware).encode(),
        "requirements.txt": requirements(
            (root / "requirements.txt").read_text(encoding="utf-8"), sdk, hardware
        ).encode(),
    }
    for name in _FILES[sdk]:
        files[name] = (root / name).read_bytes()
    for folder in _FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and not _LEFT_OUT & set(path.parts) and path.suffix != ".pyc":
                files[path.relative_to(root).as_posix()] = path.read_bytes()
    return Space(repo_id, sdk, hardware, variables, files)


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
