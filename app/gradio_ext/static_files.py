"""The page's scripts and style sheet: where they lie, and how Gradio's server hands them out.

Scripts are served under a name made from their content, so that browsers may cache them forever and still never run an
old one after an update. All addresses are relative to where the page was opened, so they also hold behind a proxy that
adds a path or replaces the host.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

STATIC = Path(__file__).resolve().parents[1] / "static"
ENTRY = "ui/main.js"
_FOREVER = "public, max-age=31536000, immutable"
_LATE_LOADER = """<style>
@keyframes adafv-late { from { opacity: 0; } }
@media (prefers-reduced-motion: no-preference) { .main.fillable > .wrap.full { animation: adafv-late 0.3s 1.5s both; } }
</style>"""
"""Gradio's "Loading…" appears only where opening takes long, and does not flicker where it does not."""


@cache
def scripts() -> dict[str, bytes]:
    """The modules by their path below `STATIC`, with forward slashes; read once, so that content and name agree."""
    found = {path.relative_to(STATIC).as_posix(): path.read_bytes() for path in STATIC.rglob("*.js")}
    return dict(sorted(found.items()))


@cache
def base_url() -> str:
    """Where the scripts are, relative to the page; ends with a slash."""
    return url_of(scripts())


def url_of(contents: dict[str, bytes]) -> str:
    """The address of such scripts: another one for any other content."""
    digest = hashlib.sha256()
    for name, content in contents.items():
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return f"adafv/{digest.hexdigest()[:16]}/"


def routes() -> list[Route]:
    """For `launch(app_kwargs={"routes": …})`: the scripts, served as files.

    Not a `Mount`, which loses its files where Gradio has a root path and the proxy strips it.
    """
    return [Route(f"/{base_url()}{{name:path}}", _script, name="adafv-script")]


async def _script(request: Request) -> Response:
    """Only scripts, with the type that modules need on every system, for the browser to cache forever."""
    content = scripts().get(request.path_params["name"])
    if content is None:
        return PlainTextResponse("No such script.", status_code=404)
    return Response(content, media_type="text/javascript", headers={"Cache-Control": _FOREVER})


def page_head() -> str:
    """For the document's head: lets the browser fetch every module at once instead of import by import."""
    links = (f'<link rel="modulepreload" href="{base_url()}{name}">' for name in scripts())
    return _LATE_LOADER + "".join(links)


def page_css() -> str:
    """The page's style sheet."""
    return (STATIC / "page.css").read_text(encoding="utf-8")
