"""The page's scripts and style sheet, and how Gradio's server serves them and its own.

Scripts are served under a name derived from their content, so that browsers may cache them forever and still never run
an old one after an update. All addresses are relative to the page's own, so they also work behind a proxy that adds a
path or replaces the host.
"""

from __future__ import annotations

import hashlib
import mimetypes
from functools import cache, lru_cache
from pathlib import Path

from gradio.route_utils import BUILD_PATH_LIB
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

STATIC = Path(__file__).resolve().parents[1] / "static"
ENTRY = "ui/main.js"
ICON = STATIC / "icon.png"
PREVIEW = "preview.png"
_FOREVER = "public, max-age=31536000, immutable"
_LATE_LOADER = """<style>
@keyframes adafv-late { from { opacity: 0; } }
@media (prefers-reduced-motion: no-preference) { .main.fillable > .wrap.full { animation: adafv-late 0.3s 1.5s both; } }
</style>"""
"""Shows Gradio's "Loading…" only if opening takes long, so that it does not flicker otherwise."""


@cache
def scripts() -> dict[str, bytes]:
    """The modules by path below `STATIC`, with forward slashes; read once, so that content and name agree."""
    found = {path.relative_to(STATIC).as_posix(): path.read_bytes() for path in STATIC.rglob("*.js")}
    return dict(sorted(found.items()))


@cache
def preview() -> bytes:
    """The picture of the page that sites show beside a link to it, a PNG."""
    return (STATIC / PREVIEW).read_bytes()


@cache
def base_url() -> str:
    """Where the scripts are, relative to the page; ends with a slash."""
    return url_of(scripts())


def url_of(contents: dict[str, bytes]) -> str:
    """The address of these scripts, which depends on their content."""
    digest = hashlib.sha256()
    for name, content in contents.items():
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return f"adafv/{digest.hexdigest()[:16]}/"


def routes() -> list[Route]:
    """For `launch(app_kwargs={"routes": …})`: the scripts, served as files, and Gradio's own, of which opening the page
    takes about a hundred: Gradio reads each from the disk for every visitor and lets no browser keep it, though its
    name changes with its content.

    Not a `Mount`, which cannot find its files if Gradio has a root path and the proxy strips it.
    """
    return [
        Route(f"/{base_url()}{{name:path}}", _script, name="adafv-script"),
        Route("/assets/{name}", _gradios_asset, name="gradio-asset"),
    ]


async def _script(request: Request) -> Response:
    """A script, with the media type that modules need on every system, or the preview; both may be cached forever."""
    name = request.path_params["name"]
    content = preview() if name == PREVIEW else scripts().get(name)
    if content is None:
        return PlainTextResponse("No such script.", status_code=404)
    kind = "image/png" if name == PREVIEW else "text/javascript"
    return Response(content, media_type=kind, headers={"Cache-Control": _FOREVER})


@lru_cache(maxsize=256)
def _read_asset(name: str) -> bytes | None:
    path = Path(BUILD_PATH_LIB) / name
    return path.read_bytes() if path.parent == Path(BUILD_PATH_LIB) and path.is_file() else None


async def _gradios_asset(request: Request) -> Response:
    name = request.path_params["name"]
    content = _read_asset(name)
    if content is None:
        return PlainTextResponse("No such file.", status_code=404)
    kind = "text/javascript" if name.endswith(".js") else mimetypes.guess_type(name)[0]
    return Response(content, media_type=kind, headers={"Cache-Control": _FOREVER})


def page_head() -> str:
    """For the document's head: lets the browser fetch every module at once instead of import by import."""
    links = (f'<link rel="modulepreload" href="{base_url()}{name}">' for name in scripts())
    return _LATE_LOADER + "".join(links)


def page_css() -> str:
    """The page's style sheet."""
    return (STATIC / "page.css").read_text(encoding="utf-8")
