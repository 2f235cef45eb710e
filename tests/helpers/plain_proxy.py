"""A reverse proxy as many are set up: under a path of its own, and usually without passing the caller's Host on."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from helpers.local_server import served

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer", "proxy-connection"}
CHUNK_BYTES = 65_536


@contextmanager
def plain_proxy(inner: str, path: str = "/", with_host: bool = False) -> Iterator[str]:
    """Serve what `inner` serves, below `path` (it begins and ends with a slash); yields the address to open.

    As nginx's `location PATH { proxy_pass INNER/; }`: the inner server sees its own address as Host, and no header that
    names the outer one; with_host as with `proxy_set_header Host $http_host`.
    """
    target = urlsplit(inner)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def forward(self) -> None:
            if not self.path.startswith(path):
                self.send_error(404)
                return
            size = int(self.headers.get("Content-Length") or 0)
            dropped = HOP_BY_HOP | {"content-length"} | (set() if with_host else {"host"})
            headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
            connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=120)
            try:
                inner_path = "/" + self.path[len(path) :]
                connection.request(self.command, inner_path, self.rfile.read(size) if size else None, headers)
                answer = connection.getresponse()
                self.send_response_only(answer.status, answer.reason)
                for name, value in answer.getheaders():
                    if name.lower() not in HOP_BY_HOP:
                        self.send_header(name, value)
                self.end_headers()
                while piece := answer.read1(CHUNK_BYTES):
                    self.wfile.write(piece)
                    self.wfile.flush()
            except (BrokenPipeError, ConnectionResetError):
                pass  # the browser has closed its side
            finally:
                connection.close()

        do_GET = do_POST = do_HEAD = do_DELETE = do_PUT = forward

        def log_message(self, *_: object) -> None:
            pass

    with served(Handler) as outer:
        yield outer + path
