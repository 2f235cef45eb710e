"""What the page is started with: environment variables and command-line flags, in one frozen value."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adafv_core.limits import MAX_PIXELS

GIGABYTE = 1024**3
MEGABYTE = 1024**2
_ANSWER_TOKENS = 64
_MOST = {"port": 65_535, "max_image_pixels": MAX_PIXELS}


@dataclass(frozen=True)
class Settings:
    """Everything that can be set from outside. A flag wins over its environment variable.

    model, fallback: on a Space (`SPACE_ID` is set) they start from auto and true.
    max_image_bytes, max_image_pixels: larger pictures are refused before they are decoded.
    max_new_tokens: the most tokens an answer may have. visit_bytes: memory for what all visitors' images were
    encoded to. uploads_kept_s: uploaded files are deleted after this many seconds.
    """

    model: str = "pocket"
    fallback: bool = False
    device: str = "auto"
    dtype: str = "auto"
    host: str = "127.0.0.1"
    port: int | None = None
    queue_size: int = 64
    max_image_bytes: int = 20 * MEGABYTE
    max_image_pixels: int = 40_000_000
    max_prompt_characters: int = 2_000
    max_new_tokens: int = 512
    visit_bytes: int = GIGABYTE
    uploads_kept_s: int = 3_600
    model_menu: bool = True
    mcp: bool = False

    @property
    def answer_tokens(self) -> int:
        """The most tokens of an answer for which no number was given."""
        return min(_ANSWER_TOKENS, self.max_new_tokens)


_FLAGS: tuple[tuple[str, str, str], ...] = (
    ("model", "ADAFV_MODEL", "pocket, a model id, a folder with a model, or auto: LLaVA-1.5-7B on a GPU, else pocket"),
    ("fallback", "ADAFV_FALLBACK", "open with pocket and say so where the model cannot be loaded: 1 or 0; auto always"),
    ("device", "ADAFV_DEVICE", "auto, cpu, cuda, cuda:1, mps"),
    ("dtype", "ADAFV_DTYPE", "auto, float32, bfloat16, float16"),
    ("host", "GRADIO_SERVER_NAME", "address to listen on; 0.0.0.0 for every network"),
    ("port", "GRADIO_SERVER_PORT", "port to listen on; without it the first free one from 7860"),
    ("queue_size", "ADAFV_QUEUE_SIZE", "requests that may wait; further ones are told to come back"),
    ("max_image_bytes", "ADAFV_MAX_IMAGE_BYTES", "largest picture file"),
    ("max_image_pixels", "ADAFV_MAX_IMAGE_PIXELS", f"largest picture, in pixels: at most {MAX_PIXELS:,}"),
    ("max_prompt_characters", "ADAFV_MAX_PROMPT_CHARACTERS", "longest prompt"),
    ("max_new_tokens", "ADAFV_MAX_NEW_TOKENS", "longest answer, in tokens"),
    ("visit_bytes", "ADAFV_VISIT_BYTES", "memory for encoded pictures of all visitors together"),
    ("uploads_kept_s", "ADAFV_UPLOADS_KEPT_S", "seconds until an uploaded file is deleted"),
    ("model_menu", "ADAFV_MODEL_MENU", "whether visitors may load other models: 1 or 0; on ZeroGPU always 0"),
    ("mcp", "ADAFV_MCP", "serve the endpoints as MCP tools too (needs gradio[mcp]): 1 or 0"),
)
_ON_A_SPACE = {"model": "auto", "fallback": "1"}
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


def read_settings(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from flags and environment; wrong values end the program with a sentence, as argparse does."""
    parser = make_parser()
    given = vars(parser.parse_args(list(arguments)))
    values: dict[str, object] = {}
    for name, variable, _ in _FLAGS:
        text = (given[name] if given[name] is not None else environment.get(variable, "")).strip()
        if text == "" and "SPACE_ID" in environment:
            text = _ON_A_SPACE.get(name, "")
        if text == "":
            continue
        try:
            values[name] = _convert(name, text)
        except ValueError as error:
            source = f"--{name.replace('_', '-')}" if given[name] is not None else variable
            parser.error(f"{source}: {error}")
    return Settings(**values)  # type: ignore[arg-type]


def make_parser() -> argparse.ArgumentParser:
    """The command line of `python -m app`; `--help` shows each flag's variable and default."""
    parser = argparse.ArgumentParser(prog="python -m app", description="Open the AdaFV page in a browser.")
    for name, variable, meaning in _FLAGS:
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            dest=name,
            default=None,
            metavar="VALUE",
            help=f"{meaning} [{variable}; {_shown_default(name)}]",
        )
    return parser


def _shown_default(name: str) -> str:
    default = getattr(Settings, name)
    if default is None:
        return "first free from 7860"
    return str(int(default) if isinstance(default, bool) else default)


def _convert(name: str, text: str) -> object:
    default = getattr(Settings, name)
    if isinstance(default, bool):
        if text.lower() in _TRUE | _FALSE:
            return text.lower() in _TRUE
        raise ValueError(f"expected 1 or 0, but {text!r} came")
    if isinstance(default, int) or name == "port":
        try:
            number = int(text)
        except ValueError:
            raise ValueError(f"expected a whole number, but {text!r} came") from None
        highest = _MOST.get(name)
        if number < 1 or (highest is not None and number > highest):
            raise ValueError(f"expected at least 1{f' and at most {highest}' if highest else ''}, but {number} came")
        return number
    return text


def settings_table() -> str:
    """Every setting as a Markdown table: flag, variable, default, meaning."""
    rows = ["| flag | variable | default | meaning |", "| --- | --- | --- | --- |"]
    for name, variable, meaning in _FLAGS:
        flag = name.replace("_", "-")
        rows.append(f"| `--{flag}` | `{variable}` | {_shown_default(name)} | {meaning} |")
    return "\n".join(rows)


def refuse_vibe_mode(environment: Mapping[str, str] = os.environ) -> None:
    """End the program where Gradio would let visitors change it."""
    if environment.get("GRADIO_VIBE_MODE"):
        sys.exit("GRADIO_VIBE_MODE is set: in that mode visitors could change this program. Unset it and start again.")


def refuse_missing_mcp(settings: Settings) -> None:
    """End the program where MCP is asked for and its package is not installed."""
    if settings.mcp and importlib.util.find_spec("mcp") is None:
        sys.exit('--mcp needs the package mcp: pip install "gradio[mcp]", or start without --mcp (ADAFV_MCP).')
