"""The page's scripts are served as files, under a name made from their content, with or without a root path."""

from __future__ import annotations

import io
import re

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from helpers.app_context import shared_address
from PIL import Image

from app.gradio_ext.document import DESCRIPTION
from app.gradio_ext.static_files import ICON, STATIC, base_url, page_head, routes, scripts, url_of
from app.main import TITLE


@pytest.mark.parametrize("root_path", ["", "/tools/adafv"])
def test_every_script_is_served_as_a_module_to_cache(root_path: str) -> None:
    """A root path is what Gradio sets behind a proxy that strips it before it forwards."""
    client = TestClient(FastAPI(routes=routes(), root_path=root_path))
    assert len(scripts()) > 10
    for name in scripts():
        answer = client.get(f"/{base_url()}{name}")
        assert answer.status_code == 200 and answer.content == (STATIC / name).read_bytes()
        assert answer.headers["content-type"].startswith("text/javascript")
        assert "immutable" in answer.headers["cache-control"]


@pytest.mark.parametrize("name", ["page.css", "ui", "", "../gradio_ext/queue.py", "%2e%2e/settings.py", "ui/none.js"])
def test_nothing_else_is_served(name: str) -> None:
    client = TestClient(FastAPI(routes=routes()))
    assert client.get(f"/{base_url()}{name}").status_code == 404


def test_the_head_preloads_every_module_from_where_the_page_was_opened() -> None:
    links = re.findall(r'<link rel="modulepreload" href="([^"]+)">', page_head())
    assert links == [base_url() + name for name in scripts()]
    assert not any(link.startswith(("/", "http")) for link in links)
    document = httpx.get(shared_address()).text
    assert document.index(page_head()) < document.index("</head>"), "Gradio would add it once its own scripts have run"


def test_changed_content_has_another_address() -> None:
    contents = scripts()
    assert url_of(dict(contents)) == base_url()
    for name, content in contents.items():
        assert url_of({**contents, name: content + b" "}) != base_url()


def test_a_link_to_the_page_shows_its_own_name_description_and_picture() -> None:
    text = httpx.get(shared_address()).text
    tags = re.findall(r'<meta\s+(?:property|name)="([\w:]+)"\s+content="([^"]*)"', text)
    meta = dict(tags)
    described = [name for name, _ in tags if name == "description" or name.startswith(("og:", "twitter:"))]
    assert len(described) == len(set(described)) and "gradio" not in str(tags).lower()
    assert meta["og:title"] == meta["twitter:title"] == TITLE
    assert meta["description"] == meta["og:description"] == meta["twitter:description"] == DESCRIPTION
    assert meta["og:image"].startswith(shared_address())
    shown = httpx.get(meta["og:image"])
    picture = Image.open(io.BytesIO(shown.content))
    assert shown.headers["content-type"] == "image/png" and picture.size == (1200, 630) and len(shown.content) < 200_000
    assert httpx.get(f"{shared_address()}/favicon.ico").content == ICON.read_bytes()


def test_the_page_itself_is_sent_compressed_and_streams_are_not() -> None:
    """The document carries the first screen's scores: half a megabyte plain."""
    page = httpx.get(shared_address(), headers={"Accept-Encoding": "gzip"})
    assert page.headers["content-encoding"] == "gzip"
    assert int(page.headers["content-length"]) < 0.4 * len(page.content)
    script = httpx.get(f"{shared_address()}/{base_url()}ui/main.js", headers={"Accept-Encoding": "gzip, br"})
    assert script.headers["content-encoding"] == "br", "compressed by Gradio, not before it"
    with httpx.stream(
        "GET", f"{shared_address()}/gradio_api/heartbeat/compressed", headers={"Accept-Encoding": "gzip"}
    ) as beat:
        assert beat.headers["content-type"].startswith("text/event-stream") and "content-encoding" not in beat.headers
