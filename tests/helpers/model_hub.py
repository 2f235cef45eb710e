"""A stand-in for the hub's model side on loopback: listings and files of one repository, for the real client.

It answers as the hub does, with the headers that the client asks for; it can be slow, break off, and go away. Run as
a program (`python tests/helpers/model_hub.py FOLDER [BYTES_PER_S]`), it serves a folder until it is ended.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from helpers.local_server import served

MODEL_ID = "llava-hf/llava-1.5-7b-hf"
COMMIT = "8c85e9a4d626b7b908448be32c1ba5ad79b95e76"


@dataclass
class ModelHub:
    """What it serves. folder: the repository's files. bytes_per_s: how fast a file is sent, in chunks; None for at
    once. break_after: byte of a file at which its connection ends, break_times times. claimed_bytes: a size to tell
    for the weights in place of the real one. requests: (method, path) of all that came.
    """

    folder: Path
    model_id: str = MODEL_ID
    commit: str = COMMIT
    address: str = ""
    bytes_per_s: float | None = None
    chunk_bytes: int = 1 << 14
    break_after: int | None = None
    break_times: int = 1_000_000
    claimed_bytes: int | None = None
    requests: list[tuple[str, str]] = field(default_factory=list)

    def files(self) -> dict[str, Path]:
        """Files by their path in the repository."""
        return {str(path.relative_to(self.folder)): path for path in self.folder.rglob("*") if path.is_file()}

    def size(self, path: Path) -> int:
        """The size that is told of a file."""
        return self.claimed_bytes if self.claimed_bytes and path.suffix == ".safetensors" else path.stat().st_size

    def fetched(self) -> set[str]:
        """Names of the files that were sent."""
        return {path.rpartition("/")[2] for method, path in self.requests if method == "GET" and "/resolve/" in path}


class Reply(BaseHTTPRequestHandler):
    """One request to the hub in `self.hub`."""

    hub: ModelHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = unquote(urlparse(self.path).path)
        self.hub.requests.append((self.command, path))
        about = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+)(/.+)?)?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        found = about or file
        if found is None or found[1] != self.hub.model_id:
            self.refuse("RepoNotFound", "Repository not found")
        elif (found[3] if about else found[2]) not in (None, "main", self.hub.commit):
            self.refuse("RevisionNotFound", "Invalid rev id")
        elif file is not None:
            self.file(file[3])
        elif found[2] == "tree":
            self.tree(found[4] or "")
        else:
            siblings = [{"rfilename": name} for name in self.hub.files()]
            self.send({"id": found[1], "modelId": found[1], "sha": self.hub.commit, "siblings": siblings})

    do_HEAD = do_GET

    def tree(self, under: str) -> None:
        """A folder's listing."""
        if under:
            self.refuse("EntryNotFound", f"{under} does not exist")
            return
        entries = [
            {"type": "file", "path": name, "size": self.hub.size(path), "oid": etag(path)}
            for name, path in self.hub.files().items()
        ]
        self.send(entries)

    def file(self, name: str) -> None:
        """A file, or the part of it that is asked for."""
        path = self.hub.files().get(name)
        if path is None:
            self.refuse("EntryNotFound", f"{name} does not exist")
            return
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        begin = int(asked[1]) if asked else 0
        size = self.hub.size(path)
        self.send_response(206 if asked else 200)
        self.send_header("X-Repo-Commit", self.hub.commit)
        self.send_header("ETag", f'"{etag(path)}"')
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(size - begin))
        if asked:
            self.send_header("Content-Range", f"bytes {begin}-{size - 1}/{size}")
        self.end_headers()
        if self.command == "GET":
            self.body(path.read_bytes(), begin)

    def body(self, content: bytes, begin: int) -> None:
        """Send bytes as slowly as the hub is, and break off where it does."""
        for at in range(begin, len(content), self.hub.chunk_bytes):
            if self.hub.break_after is not None and at >= self.hub.break_after and self.hub.break_times > 0:
                self.hub.break_times -= 1
                self.close_connection = True
                return
            chunk = content[at : at + self.hub.chunk_bytes]
            self.wfile.write(chunk)
            self.wfile.flush()
            if self.hub.bytes_per_s:
                time.sleep(len(chunk) / self.hub.bytes_per_s)

    def refuse(self, code: str, message: str) -> None:
        """404 as the hub says it."""
        self.send({"error": message}, 404, {"X-Error-Code": code, "X-Error-Message": message})

    def send(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        """JSON."""
        content = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:
        return


def etag(path: Path) -> str:
    """The hash that names a file's content."""
    return hashlib.sha1(path.read_bytes()).hexdigest()


@contextmanager
def running_model_hub(folder: Path, **options: Any) -> Iterator[ModelHub]:
    """The hub on a free port of this machine. options: of `ModelHub`."""
    hub = ModelHub(folder, **options)
    with served(type("Reply", (Reply,), {"hub": hub})) as hub.address:
        yield hub


def surroundings(hub: ModelHub, home: Path) -> dict[str, str]:
    """Variables with which a program asks this hub and keeps its cache in `home`."""
    return {
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
    }
