"""A plain HTTP caller of the queue, which can hang up in mid-answer and come from any address."""

from __future__ import annotations

import http.client
import json
import socket
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


class Refused(Exception):
    """An answer with a status of 400 or more."""

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        super().__init__(f"{status}: {body[:300].decode(errors='replace')}")
        self.status, self.body, self.headers = status, body, headers


class Failed(Exception):
    """The call ended with an error message."""


class Caller:
    """Calls endpoints by name. headers: sent with every request."""

    def __init__(self, address: str, headers: Mapping[str, str] | None = None) -> None:
        self.place = urlsplit(address)
        self.headers = dict(headers or {})

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Send one request; the body is not read yet. Raises Refused."""
        connection = http.client.HTTPConnection(self.place.hostname or "", self.place.port, timeout=120)
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        kind = {} if body is None or isinstance(body, bytes) else {"Content-Type": "application/json"}
        connection.request(method, path, sent, {**self.headers, **kind, **(headers or {})})
        response = connection.getresponse()
        if response.status >= 400:
            read = response.read()
            connection.close()
            raise Refused(response.status, read, {name.lower(): value for name, value in response.getheaders()})
        return connection, response

    def fetch(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> bytes:
        """The whole body of a response."""
        connection, response = self.request(method, path, body, headers)
        try:
            return response.read()
        finally:
            connection.close()

    def upload(self, file: Path, content: bytes | None = None) -> dict[str, Any]:
        """Upload a file; returns what names it in a call."""
        mark = uuid.uuid4().hex
        content = file.read_bytes() if content is None else content
        head = f'--{mark}\r\nContent-Disposition: form-data; name="files"; filename="{file.name}"\r\n\r\n'
        body = head.encode() + content + f"\r\n--{mark}--\r\n".encode()
        kind = {"Content-Type": f"multipart/form-data; boundary={mark}"}
        path = json.loads(self.fetch("POST", "/gradio_api/upload", body, kind))[0]
        return {"path": path, "meta": {"_type": "gradio.FileData"}}

    def post(self, endpoint: str, data: list[Any], session: str | None = None) -> str:
        """Put a call into the queue; returns its id."""
        body = {"data": data, **({"session_hash": session} if session else {})}
        return str(json.loads(self.fetch("POST", f"/gradio_api/call/{endpoint}", body))["event_id"])

    def ask(self, endpoint: str, data: list[Any], session: str | None = None) -> Any:
        """The result of a call. Raises Refused or Failed."""
        for event, value in self.results(endpoint, self.post(endpoint, data, session)):
            if event == "complete":
                return value[0] if len(value) == 1 else value
            if event == "error":
                raise Failed(value)
        raise Failed("the stream ended without a result")

    def results(self, endpoint: str, event_id: str) -> Iterator[tuple[str, Any]]:
        """What comes of a call, one (event, value) after the other."""
        connection, response = self.request("GET", f"/gradio_api/call/{endpoint}/{event_id}")
        try:
            event = ""
            for line in response:
                if line.startswith(b"event: "):
                    event = line[7:].decode().strip()
                elif line.startswith(b"data: "):
                    yield event, json.loads(line[6:])
        finally:
            connection.close()

    def hang_up_on(self, endpoint: str, event_id: str) -> None:
        """Begin to read the results of a call, and close the connection at once, as a closed program does."""
        opened = socket.create_connection((self.place.hostname or "", self.place.port or 80))
        head = f"GET /gradio_api/call/{endpoint}/{event_id} HTTP/1.1\r\nHost: {self.place.netloc}\r\n\r\n"
        opened.sendall(head.encode())
        opened.recv(64)
        opened.close()
