"""Settings of the page: command-line flags and environment variables, read into one frozen value.

Each setting is declared once, as a field of `Settings`; the command line, the environment and `docs/settings.md` are
derived from it.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TypeVar

from adafv_core.images import MAX_PIXELS

GIGABYTE = 1024**3
MEGABYTE = 1024**2
_ANSWER_TOKENS = 64
RAY = "ray[serve]==2.60.0"
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})

_Value = TypeVar("_Value")


def _setting(
    default: _Value,
    variable: str,
    meaning: str,
    *,
    most: int | None = None,
    shown_default: str = "",
    on_a_space: str = "",
    choices: tuple[str, ...] = (),
) -> _Value:
    """A field of `Settings`.

    variable: the environment variable. meaning: the text of `--help` and of `docs/settings.md`. most: the largest
    number allowed. shown_default: what the help shows as the default, if not the value. on_a_space: the default on a
    Hugging Face Space, if it differs there. choices: the only values allowed.
    """
    metadata = {
        "variable": variable,
        "meaning": meaning,
        "most": most,
        "shown_default": shown_default or str(int(default) if isinstance(default, bool) else default),
        "on_a_space": on_a_space,
        "choices": choices,
    }
    field: _Value = dataclasses.field(default=default, metadata=metadata)
    return field


@dataclass(frozen=True)
class Settings:
    """Everything that can be configured from outside. A flag wins over its environment variable."""

    model: str = _setting(
        "pocket",
        "ADAFV_MODEL",
        "pocket, a model id, a model folder, or auto: LLaVA-1.5-7B on a GPU, else pocket",
        on_a_space="auto",
    )
    fallback: bool = _setting(
        False,
        "ADAFV_FALLBACK",
        "if the model cannot be loaded, start with pocket and show why: 1 or 0; auto always does",
        on_a_space="1",
    )
    device: str = _setting("auto", "ADAFV_DEVICE", "auto, cpu, cuda, cuda:1, mps")
    dtype: str = _setting("auto", "ADAFV_DTYPE", "auto, float32, bfloat16, float16")
    quantization: str | None = _setting(
        None,
        "ADAFV_QUANTIZATION",
        "8bit or 4bit: bits of the LLM's linear layers (needs bitsandbytes and accelerate)",
        shown_default="none",
    )
    backend: str = _setting(
        "local",
        "ADAFV_BACKEND",
        "where the model runs: local, in this process, or ray, replicated by Ray Serve (docs/serving.md)",
        choices=("local", "ray"),
    )
    ray_address: str = _setting(
        "",
        "ADAFV_RAY_ADDRESS",
        "the Ray cluster to join, such as auto or host:6379; by default one is started on this machine",
        shown_default="none",
    )
    ray_replicas: int = _setting(
        2, "ADAFV_RAY_REPLICAS", "the most replicas that Ray starts; as many answers run at once"
    )
    ray_gpus: float | None = _setting(
        None,
        "ADAFV_RAY_GPUS",
        "the share of a GPU for each replica, such as 0.5",
        shown_default="1 if the cluster has any",
    )
    host: str = _setting("127.0.0.1", "GRADIO_SERVER_NAME", "address to listen on; 0.0.0.0 for every network")
    port: int | None = _setting(
        None,
        "GRADIO_SERVER_PORT",
        "port to listen on; by default the first free one from 7860",
        most=65_535,
        shown_default="first free from 7860",
    )
    allow_origins: str = _setting(
        "",
        "ADAFV_ALLOW_ORIGINS",
        "other web sites, separated by commas, that may call the page and frame it, or * for all",
        shown_default="none",
        on_a_space="*",
    )
    queue_size: int = _setting(64, "ADAFV_QUEUE_SIZE", "requests that may wait; further ones are asked to retry later")
    visitor_queue_size: int = _setting(
        16, "ADAFV_VISITOR_QUEUE_SIZE", "requests from one address that may wait; further ones are asked to retry later"
    )
    longest_job_s: int = _setting(
        3_600, "ADAFV_LONGEST_JOB_S", "seconds after which a sweep or study from the page ends; its answers are kept"
    )
    max_image_bytes: int = _setting(20 * MEGABYTE, "ADAFV_MAX_IMAGE_BYTES", "largest image file, in bytes")
    max_image_pixels: int = _setting(
        40_000_000,
        "ADAFV_MAX_IMAGE_PIXELS",
        f"largest image, in pixels, checked before decoding: at most {MAX_PIXELS:,}",
        most=MAX_PIXELS,
    )
    max_images: int = _setting(4, "ADAFV_MAX_IMAGES", "most images in one question")
    max_prompt_characters: int = _setting(2_000, "ADAFV_MAX_PROMPT_CHARACTERS", "longest prompt, in characters")
    max_new_tokens: int = _setting(512, "ADAFV_MAX_NEW_TOKENS", "longest answer, in tokens")
    cache_bytes: int = _setting(
        GIGABYTE, "ADAFV_CACHE_BYTES", "memory for the encoded images of all sessions together, in bytes"
    )
    uploads_kept_s: int = _setting(3_600, "ADAFV_UPLOADS_KEPT_S", "seconds until an uploaded file is deleted")
    model_menu: bool = _setting(
        True,
        "ADAFV_MODEL_MENU",
        "whether users may load other models: 1 or 0; on ZeroGPU always 0",
        shown_default="1 on loopback, else 0",
    )
    models: str = _setting(
        "",
        "ADAFV_MODELS",
        "what users may load besides the known models, separated by commas: hub ids, folders with all below them, or "
        "hub for every hub id",
        shown_default="none",
    )
    mcp: bool = _setting(False, "ADAFV_MCP", "also serve the endpoints as MCP tools (needs gradio[mcp]): 1 or 0")

    @property
    def origins(self) -> tuple[str, ...]:
        """The web sites that `allow_origins` lists."""
        return tuple(one for part in self.allow_origins.split(",") if (one := part.strip().rstrip("/")))

    @property
    def answer_tokens(self) -> int:
        """The token limit of an answer if the request gives none."""
        return min(_ANSWER_TOKENS, self.max_new_tokens)

    @property
    def answers_at_once(self) -> int:
        """How many requests the model answers at the same time."""
        return self.ray_replicas if self.backend == "ray" else 1


_FIELDS = dataclasses.fields(Settings)


def read_settings(
    arguments: Sequence[str], environment: Mapping[str, str] = os.environ, prog: str = "python -m app"
) -> Settings:
    """Settings from flags and environment; wrong values end the program with a sentence, as argparse does."""
    parser = make_parser(prog)
    given = vars(parser.parse_args(list(arguments)))
    values: dict[str, object] = {}
    for field in _FIELDS:
        variable = field.metadata["variable"]
        text = (given[field.name] if given[field.name] is not None else environment.get(variable, "")).strip()
        if text == "" and "SPACE_ID" in environment:
            text = field.metadata["on_a_space"]
        if text == "":
            continue
        try:
            values[field.name] = _convert(field, text)
        except ValueError as error:
            source = _flag(field) if given[field.name] is not None else variable
            parser.error(f"{source}: {error}")
    if not is_loopback(str(values.get("host", Settings.host))):
        values.setdefault("model_menu", False)
    return Settings(**values)  # type: ignore[arg-type]


def is_loopback(host: str) -> bool:
    """Whether a name or an address means this machine alone."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def make_parser(prog: str = "python -m app") -> argparse.ArgumentParser:
    """The command line of the page; `--help` shows each flag's variable and default."""
    parser = argparse.ArgumentParser(prog=prog, description="Open the AdaFV page in a browser.")
    for field in _FIELDS:
        about = field.metadata
        parser.add_argument(
            _flag(field),
            dest=field.name,
            default=None,
            metavar="VALUE",
            help=f"{about['meaning']} [{about['variable']}; {about['shown_default']}]",
        )
    return parser


def _flag(field: dataclasses.Field[object]) -> str:
    return f"--{field.name.replace('_', '-')}"


def _convert(field: dataclasses.Field[object], text: str) -> object:
    if isinstance(field.default, bool):
        if text.lower() in _TRUE | _FALSE:
            return text.lower() in _TRUE
        raise ValueError(f"expected 1 or 0, got {text!r}")
    if field.type in ("int", "int | None"):
        try:
            number = int(text)
        except ValueError:
            raise ValueError(f"expected a whole number, got {text!r}") from None
        most = field.metadata["most"]
        if number < 1 or (most is not None and number > most):
            raise ValueError(f"expected at least 1{f' and at most {most}' if most else ''}, got {number}")
        return number
    if field.type == "float | None":
        share = float(text) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) else -1.0
        if share < 0:
            raise ValueError(f"expected a number of at least 0, got {text!r}")
        return share
    choices = field.metadata["choices"]
    if choices and text not in choices:
        raise ValueError(f"expected {' or '.join(choices)}, got {text!r}")
    return text


def settings_table() -> str:
    """Every setting as a Markdown table: flag, variable, default, meaning."""
    rows = ["| flag | variable | default | meaning |", "| --- | --- | --- | --- |"]
    for field in _FIELDS:
        about = field.metadata
        rows.append(f"| `{_flag(field)}` | `{about['variable']}` | {about['shown_default']} | {about['meaning']} |")
    return "\n".join(rows)


def refuse_vibe_mode(environment: Mapping[str, str] = os.environ) -> None:
    """End the program in Gradio's vibe mode, in which users of the page could change it."""
    if environment.get("GRADIO_VIBE_MODE"):
        sys.exit("GRADIO_VIBE_MODE is set: in that mode users could change this program. Unset it and start again.")


def refuse_missing_mcp(settings: Settings) -> None:
    """End the program if MCP is requested but its package is not installed."""
    if settings.mcp and importlib.util.find_spec("mcp") is None:
        sys.exit('--mcp needs the package mcp: pip install "gradio[mcp]", or start without --mcp (ADAFV_MCP).')


def refuse_missing_ray(settings: Settings) -> None:
    """End the program if Ray is requested but not installed."""
    if settings.backend == "ray" and importlib.util.find_spec("ray") is None:
        sys.exit(f'--backend ray needs Ray: pip install "{RAY}", or start without --backend (ADAFV_BACKEND).')
