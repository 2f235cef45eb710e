"""The page's scripts and style sheet: where they lie, and how Gradio's server hands them out.

Scripts are served under a name made from their content, so that browsers may cache them forever and still never run an
old one after an update. All addresses are relative to where the page was opened, so they also hold behind a proxy that
adds a path or replaces the host.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC = Path(__file__).resolve().parents[1] / "static"
ENTRY = "ui/main.js"
_FOREVER = "public, max-age=31536000, immutable"
_LATE_LOADER = """<style>
@keyframes adafv-late { from { opacity: 0; } }
@media (prefers-reduced-motion: no-preference) { .main.fillable > .wrap.full { animation: adafv-late 0.3s 1.5s both; } }
</style>"""
"""Gradio's "Loading…" appears only where opening takes long, and does not flicker where it does not."""


@cache
def scripts() -> tuple[str, ...]:
    """The modules' paths below `STATIC`, with forward slashes."""
    return tuple(sorted(path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*.js")))


@cache
def base_url() -> str:
    """Where the scripts are, relative to the page; ends with a slash."""
    content = hashlib.sha256()
    for name in scripts():
        content.update(name.encode() + b"\0" + (STATIC / name).read_bytes() + b"\0")
    return f"adafv/{content.hexdigest()[:16]}/"


def routes() -> list[Mount]:
    """For `launch(app_kwargs={"routes": …})`: the scripts, served as files."""
    return [Mount("/" + base_url().rstrip("/"), app=_Scripts(directory=STATIC), name="adafv-scripts")]


def page_head() -> str:
    """For the document's head: lets the browser fetch every module at once instead of import by import."""
    links = (f'<link rel="modulepreload" href="{base_url()}{name}">' for name in scripts())
    return _LATE_LOADER + "".join(links)


def page_css() -> str:
    """The page's style sheet."""
    return (STATIC / "page.css").read_text(encoding="utf-8")


class _Scripts(StaticFiles):
    """Only scripts, each with the type that modules need on every system, kept by the browser for good."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        if path.replace("\\", "/") not in scripts():
            return Response("No such script.", status_code=404)
        response = await super().get_response(path, scope)
        response.headers["Content-Type"] = "text/javascript; charset=utf-8"
        response.headers["Cache-Control"] = _FOREVER
        return response
