"""A stand-in for the hub on loopback: the part of its API that making and updating a Space needs.

It keeps what it is sent in memory and answers as the hub does: repositories, preupload, large files by the basic LFS
transfer, commits as lines of JSON, variables, hardware. Any step can be told to fail or to hang.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from helpers.local_server import served

TOKEN = "hf_" + "standin" * 4


@dataclass
class Hub:
    """What the hub knows, and how it behaves.

    requests: (method, path, Authorization header). large: LFS objects by sha256. failing: status and JSON to answer
    with, by step (a key of STEPS). hanging: a step that is never answered; `reached` is set once it is requested.
    """

    address: str = ""
    spaces: dict[str, dict[str, Any]] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    refuse: str = ""
    failing: dict[str, tuple[int, Any]] = field(default_factory=dict)
    hanging: str = ""
    reached: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)


STEPS = {
    "create": r"/api/repos/create",
    "variables": r".*/variables",
    "preupload": r".*/preupload/.*",
    "batch": r".*/objects/batch",
    "lfs": r"/lfs/\w+",
    "commit": r".*/commit/.*",
    "hardware": r".*/hardware",
}


def answer(hub: Hub, method: str, path: str, body: bytes) -> tuple[int, Any]:
    """Status and JSON for one request."""
    path = path.split("?")[0]
    step = next((name for name, pattern in STEPS.items() if re.fullmatch(pattern, path)), "")
    if step and step == hub.hanging:
        hub.reached.set()
        hub.ended.wait()  # without a limit: an upload that the test wants stopped must not end by itself
    if hub.refuse:
        return 403, {"error": hub.refuse}
    if step in hub.failing:
        return hub.failing[step]
    if (method, path) == ("POST", "/api/repos/create"):
        return create(hub, json.loads(body))
    if (method, path) == ("POST", "/api/validate-yaml"):
        return 200, {"errors": [], "warnings": []}
    if found := re.fullmatch(r"/lfs/(\w{64})", path):
        assert hashlib.sha256(body).hexdigest() == found[1]
        hub.large[found[1]] = body
        return 200, {}
    if found := re.fullmatch(r"/spaces/(.+)\.git/info/lfs/objects/batch", path):
        return 200, {"objects": [lfs_object(hub, one) for one in json.loads(body)["objects"]], "transfer": "basic"}
    found = re.fullmatch(r"/api/spaces/([^/]+/[^/]+)(?:/(\w+).*)?", path)
    if found is None or found[1] not in hub.spaces:
        return 404, {"error": "Repository not found"}
    return on_space(hub, found[1], method, found[2] or "", body)


def create(hub: Hub, asked: dict[str, Any]) -> tuple[int, Any]:
    """POST /api/repos/create."""
    name = "/".join(part for part in (asked.get("organization"), asked["name"]) if part)
    if name in hub.spaces:
        return 409, {"error": "You already created this space repo", "url": f"{hub.address}/spaces/{name}"}
    hub.spaces[name] = {
        "sdk": asked["sdk"],
        "hardware": asked.get("hardware", "cpu-basic"),
        "variables": {},
        "commits": 0,
        "files": {".gitattributes": b"", "README.md": b"---\nsdk: gradio\n---\n"},
    }
    return 200, {"url": f"{hub.address}/spaces/{name}", "name": name, "id": name}


def lfs_object(hub: Hub, one: dict[str, Any]) -> dict[str, Any]:
    """Where one large file goes; nowhere if it is there."""
    known = {} if one["oid"] in hub.large else {"actions": {"upload": {"href": f"{hub.address}/lfs/{one['oid']}"}}}
    return {"oid": one["oid"], "size": one["size"], **known}


def on_space(hub: Hub, name: str, method: str, action: str, body: bytes) -> tuple[int, Any]:
    """Requests about one Space."""
    space = hub.spaces[name]
    if action == "preupload":
        asked = json.loads(body)["files"]
        modes = [(one["path"], "lfs" if one["path"].endswith(".safetensors") else "regular") for one in asked]
        return 200, {"files": [{"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes]}
    if action == "commit":
        for line in body.decode().splitlines():
            one = json.loads(line)
            if one["key"] == "file":
                space["files"][one["value"]["path"]] = base64.b64decode(one["value"]["content"])
            elif one["key"] == "lfsFile":
                space["files"][one["value"]["path"]] = hub.large[one["value"]["oid"]]
            elif one["key"] == "deletedFile":
                del space["files"][one["value"]["path"]]
        space["commits"] += 1
        oid = f"{space['commits']:040x}"
        return 200, {"success": True, "commitOid": oid, "commitUrl": f"{hub.address}/spaces/{name}/commit/{oid}"}
    if action == "variables":
        given = json.loads(body)
        space["variables"][given["key"]] = {"key": given["key"], "value": given["value"]}
        return 200, space["variables"]
    if action == "hardware":
        space["hardware"] = json.loads(body)["flavor"]
    if action in ("hardware", "runtime"):
        return 200, {"stage": "BUILDING", "hardware": {"current": None, "requested": space["hardware"]}}
    if action == "tree":
        files = space["files"].items()
        return 200, [{"type": "file", "path": path, "size": len(content), "oid": "0" * 40} for path, content in files]
    siblings = [{"rfilename": path} for path in space["files"]]
    return 200, {"id": name, "sha": f"{space['commits']:040x}", "siblings": siblings, "sdk": space["sdk"]}


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A hub on a free port of this machine."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Transfer-Encoding") == "chunked":
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            hub.requests.append((self.command, self.path, self.headers.get("Authorization", "")))
            status, value = answer(hub, self.command, self.path, body)
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with suppress(BrokenPipeError):
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = reply

        def log_message(self, format: str, *args: Any) -> None:
            return

    with served(Handler) as hub.address:
        try:
            yield hub
        finally:
            hub.ended.set()
