"""One running context for all tests of the app: the bundled model, in this process, on a free port of loopback."""

from __future__ import annotations

import atexit
import os
import socket
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import gradio as gr
from helpers.tiny_models import save_tiny
from PIL import Image

from adafv_core.images import read_picture
from app.context import AppContext
from app.main import launch, make_page, open_context
from app.serving.ask import AskRequest
from app.settings import Settings
from app.wire.parse import AskSettings, TokenChoice

QUESTION = "What color is the largest object?"
MISSING = "nobody/no-such-model"


@cache
def shared_context() -> AppContext:
    """The context, its first screen prepared; on the backend that ADAFV_BACKEND names, local by default."""
    backend, models = os.environ.get("ADAFV_BACKEND", "local"), f"hub, {tempfile.gettempdir()}"
    return open_context(Settings(backend=backend, models=models, port=free_port()))


def serve(context: AppContext) -> tuple[gr.Blocks, str]:
    """The context's page, served until the tests end, and its address."""
    page = make_page(context)
    address = launch(page, context.settings)
    atexit.register(page.close, verbose=False)
    return page, address.rstrip("/")


@cache
def shared_address() -> str:
    """The address of the page, served until the tests end."""
    os.environ.pop("GRADIO_VIBE_MODE", None)
    return serve(shared_context())[1]


@cache
def many_crops_context() -> AppContext:
    """A context on a tiny any-resolution model (LLaVA-NeXT's classes, random weights)."""
    folder = save_tiny("llava_next_vicuna", Path(tempfile.mkdtemp(prefix="adafv-tiny-")))
    return open_context(Settings(model=str(folder), port=free_port()))


@cache
def many_crops_address() -> str:
    """The address of that context's page."""
    return serve(many_crops_context())[1]


@cache
def fallback_address() -> str:
    """The address of a page that was to start with a model nobody has, and fell back."""
    return serve(open_context(Settings(model=MISSING, fallback=True, port=free_port())))[1]


@cache
def short_queue() -> tuple[gr.Blocks, str]:
    """A page of the shared context where one request may wait, and its address."""
    return serve(replace(shared_context(), settings=replace(shared_context().settings, queue_size=1, port=free_port())))


def scene_path(index: int = 3) -> Path:
    """A drawn scene on disk."""
    return shared_context().scenes.scene(index).path


def question(
    prompt: str = QUESTION,
    method: str = "adafv",
    choice: TokenChoice | None = None,
    more: AskSettings | None = None,
    index: int = 3,
) -> AskRequest:
    """A checked question about a drawn scene."""
    picture = Image.open(scene_path(index)).convert("RGB")
    few = AskSettings(max_new_tokens=4)
    return AskRequest(read_picture(picture), prompt, method, choice or TokenChoice(0.1), more or few)


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
