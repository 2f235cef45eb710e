"""Reads the settings, loads the model, assembles the tabs and launches; runs as `python -m app` and as a file."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
if __name__ == "__main__":
    from app.preflight import settings_to_start_with
    from app.stopping import end_at_once_on_signals

    end_at_once_on_signals()
    STARTED_WITH = settings_to_start_with(sys.argv[1:])

from app.serving.zero_gpu import for_this_machine, on_zero_gpu  # before anything that starts CUDA

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr
import torch
from starlette.middleware import Middleware
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware

import adafv_core
from adafv_core.engine.backend import Backend
from adafv_core.engine.gate import Gate
from adafv_core.errors import AdaFVError
from adafv_core.loading.download import Report
from app.about import tab as about
from app.api import add_endpoints
from app.context import AppContext
from app.explore import tab as explore
from app.gradio_ext.blocks import PageBlocks
from app.gradio_ext.busy import BusyMiddleware
from app.gradio_ext.components import html_view
from app.gradio_ext.document import fill_head
from app.gradio_ext.guard import GuardMiddleware
from app.gradio_ext.static_files import ICON, page_css, routes
from app.gradio_ext.theme import make_theme
from app.preflight import ABOUT_THE_ADDRESS, server_name, settings_to_start_with, unusable_address, without_proxies
from app.saved_runs.save_and_open import most_run_bytes
from app.serving.ask import Service
from app.serving.exports import Exports
from app.serving.first_screen import first_screen, warm_up
from app.serving.models import ModelPool, load_first
from app.serving.scenes import SceneFolder
from app.serving.sessions import Sessions
from app.settings import Settings, is_loopback
from app.stopping import end_at_once_on_signals, stop_on_signals, wait_and_drain
from app.study import tab as study
from app.sweep import tab as sweep
from app.wire.views import masthead

TITLE = "AdaFV: which visual tokens does the question need?"
COMPRESSED_BY_GRADIO = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "application/javascript", "text/javascript", "text/css")


def open_context(settings: Settings) -> AppContext:
    """Load the model and prepare the first screen. Raises ModelError if the model cannot be loaded."""

    gate = Gate()  # one for all models: they share a device

    def load(name: str, progress: Report | None = None) -> Backend:
        if settings.backend == "ray":
            return load_on_ray(name, settings)
        return for_this_machine(
            adafv_core.load(
                name,
                device=settings.device,
                dtype=settings.dtype,
                quantization=settings.quantization,
                cache_bytes=settings.cache_bytes,
                progress=progress,
                gate=gate,
            )
        )

    def load_beside(name: str, progress: Report) -> Backend:
        engine = load(name, progress)
        warm_up(engine)
        return engine

    scenes = SceneFolder(Path(tempfile.mkdtemp(prefix="adafv-scenes-")))
    started = load_first(settings.model, settings.fallback, load)
    menu = settings.model_menu and settings.backend == "local" and not on_zero_gpu()
    settings = replace(settings, model=started.name, model_menu=menu)
    pool = ModelPool(started.name, started.engine, load_beside)
    service = Service(pool, Sessions(settings.model, settings.cache_bytes), settings, scenes.index_of)
    exports = Exports(Path(tempfile.mkdtemp(prefix="adafv-exports-")), settings.uploads_kept_s)
    first = first_screen(service, scenes)
    return AppContext(settings, service, scenes, first, exports, gpu=torch.cuda.is_available(), fallback=started.notice)


def load_on_ray(name: str, settings: Settings) -> Backend:
    """Replicas of a model on the cluster that the settings name, or on one that is started here."""
    from adafv_core.backends import ray

    options = ray.RayOptions(settings.ray_address, max_replicas=settings.ray_replicas, num_gpus=settings.ray_gpus)
    return ray.load(name, settings.device, settings.dtype, settings.cache_bytes, options, settings.quantization)


def make_page(context: AppContext) -> PageBlocks:
    """The page, not launched yet."""
    kept_s = context.settings.uploads_kept_s
    with PageBlocks(
        title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=(max(1, kept_s // 4), kept_s)
    ) as page:
        top = html_view("masthead", masthead(context.service.pool.engine(context.settings.model), context.fallback))
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Explore", id="explore"):
                explore_tab = explore.build(context)
            with gr.Tab("Sweep", id="sweep"):
                sweep_tab = sweep.build(context)
            with gr.Tab("Study", id="study"):
                study_tab = study.build(context)
            with gr.Tab("About", id="about"):
                about.build(context)
        add_endpoints(context)
        explore.bind(context, explore_tab, top)
        sweep.bind(context, sweep_tab, explore_tab)
        study.bind(context, study_tab, explore_tab.keep)

        def leave(request: gr.Request) -> None:
            context.service.sessions.leave(request.session_hash)

        page.unload(leave)
    page.queue(
        max_size=context.settings.queue_size,
        visitor_size=context.settings.visitor_queue_size,
        default_concurrency_limit=4,
        api_open=False,
    )
    return page


def launch(page: PageBlocks, settings: Settings) -> str:
    """Serve the page in a thread of its own and return its address. Nothing is shared, monitored or recorded."""
    fill_head(TITLE)
    with without_proxies():
        _, address, _ = page.launch(
            server_name=server_name(settings.host),
            server_port=settings.port,
            share=False,
            show_error=False,
            ssr_mode=False,
            enable_monitoring=False,
            run_history=False,
            footer_links=["api"],
            theme=make_theme(),
            css=page_css(),
            favicon_path=ICON,
            app_kwargs={
                "routes": [*routes(), page.health_route()],
                "openapi_url": None,
                "middleware": [
                    Middleware(GuardMiddleware, origins=settings.origins, loopback=is_loopback(settings.host)),
                    Middleware(GZipMiddleware, exclude_content_types=COMPRESSED_BY_GRADIO),
                    Middleware(BusyMiddleware, page=page),
                ],
            },
            max_file_size=most_run_bytes(settings),
            mcp_server=settings.mcp,
            pwa=False,
            quiet=True,
            prevent_thread_lock=True,
        )
    print(f"AdaFV is open at {address}", flush=True)
    return str(address)


def start(settings: Settings) -> None:
    """Load the model and serve the page until SIGTERM or SIGINT."""
    end_at_once_on_signals()
    try:
        context = open_context(settings)
    except AdaFVError as error:
        sys.exit(f"The page cannot start: {error}")
    page = make_page(context)
    stop = stop_on_signals()
    try:
        launch(page, settings)
    except OSError as error:
        if error.errno not in ABOUT_THE_ADDRESS:
            raise
        sys.exit(unusable_address(settings, error))
    wait_and_drain(stop, page.drain, page.close_soon)


def main(arguments: list[str] | None = None) -> None:
    """Start the page from flags and environment."""
    start(settings_to_start_with(sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    start(STARTED_WITH)
