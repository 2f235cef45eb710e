"""What browsers and strangers may reach: headers, origins, private functions, addresses; and what the log holds."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from functools import cache
from typing import Any

import gradio as gr
import pytest
from helpers.app_context import QUESTION, free_port, scene_path, serve, shared_context
from helpers.http_caller import Caller, Failed, Refused

from app.gradio_ext.blocks import NOT_PUBLIC, is_private
from app.settings import Settings, is_loopback

JOIN = "/gradio_api/queue/join"


@cache
def page() -> tuple[gr.Blocks, str]:
    return serve(replace(shared_context(), settings=replace(shared_context().settings, port=free_port())))


def caller(**headers: str) -> Caller:
    return Caller(page()[1], {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize("path", ["/", "/config", "/gradio_api/info", "/nothing", "/theme.css"])
def test_every_response_has_the_headers(path: str) -> None:
    try:
        connection, response = caller().request("GET", path)
        headers = {name.lower(): value for name, value in response.getheaders()}
        connection.close()
    except Refused as refused:
        headers = dict(refused.headers)
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "same-origin"
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'self'" and policy["frame-ancestors"] == "'self'"
    assert policy["object-src"] == "'none'" and policy["connect-src"] == "'self' data: blob:"


def test_an_uploaded_file_runs_no_script() -> None:
    path = caller().upload(scene_path(), b"<script>1</script>")["path"]
    connection, response = caller().request("GET", f"/gradio_api/file={path}")
    connection.close()
    assert "default-src 'none'" in str(response.getheader("content-security-policy"))
    assert response.getheader("x-content-type-options") == "nosniff"


FOREIGN: list[dict[str, str]] = [
    {"Origin": "http://localhost:3000"},
    {"Origin": "https://example.org"},
    {"Origin": "null"},
    {"Origin": "https://example.org", "Sec_Fetch_Site": "cross-site"},
    {"Origin": "http://127.0.0.1:1", "Sec_Fetch_Site": "same-site"},
    {"Origin": "http://attacker.test", "Host": "attacker.test"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_another_origin_drives_nothing(headers: dict[str, str]) -> None:
    foreign = caller(**headers)
    for method, path, body in (
        ("POST", JOIN, {"data": [], "fn_index": 0, "session_hash": "s"}),
        ("GET", "/config", None),
    ):
        with pytest.raises(Refused) as refused:
            foreign.fetch(method, path, body)
        assert refused.value.status == 403 and b"--allow-origins" in refused.value.body
    with pytest.raises(Refused) as refused:
        foreign.upload(scene_path())
    assert refused.value.status == 403


def test_the_pages_own_origin_and_a_link_from_elsewhere_are_served() -> None:
    own = page()[1]
    for headers in ({"Origin": own}, {"Origin": "https://proxied.test", "Sec_Fetch_Site": "same-origin"}, {}):
        assert caller(**headers).upload(scene_path())["path"]
    assert caller(Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").fetch("GET", "/")


def test_origins_that_the_operator_allows_call_and_frame() -> None:
    settings = replace(shared_context().settings, allow_origins="https://a.test/, https://b.test", port=free_port())
    assert settings.origins == ("https://a.test", "https://b.test") and Settings().origins == ()
    address = serve(replace(shared_context(), settings=settings))[1]
    connection, response = Caller(address, {"Origin": "https://b.test"}).request("GET", "/config")
    connection.close()
    assert "frame-ancestors 'self' https://a.test https://b.test" in str(response.getheader("content-security-policy"))
    with pytest.raises(Refused):
        Caller(address, {"Origin": "https://c.test"}).fetch("GET", "/config")


@pytest.mark.parametrize(
    ("host", "loopback"), [("127.0.0.1", True), ("[::1]", True), ("localhost", True), ("0.0.0.0", False)]
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) == loopback


def test_private_functions_do_not_answer_by_number() -> None:
    private = [number for number, fn in page()[0].fns.items() if is_private(fn)]
    assert len(private) > 20
    for number in private:
        path = "/gradio_api/run/predict"
        with pytest.raises(Refused) as refused:
            caller().fetch("POST", path, {"data": [], "fn_index": number, "session_hash": "stranger"})
        assert refused.value.status in (404, 500)
        if refused.value.status == 500:
            assert json.loads(refused.value.body)["error"] == NOT_PUBLIC
    queued = next(number for number in private if page()[0].fns[number].queue)
    caller().fetch("POST", JOIN, {"data": [], "fn_index": queued, "session_hash": "stranger"})
    connection, response = caller().request("GET", "/gradio_api/queue/data?session_hash=stranger")
    try:
        assert NOT_PUBLIC in "".join(line.decode() for line in response if b"process_completed" in line)
    finally:
        connection.close()


@pytest.mark.parametrize(
    "path",
    [
        "/openapi.json",
        "/gradio_api/openapi.json",
        "/monitoring",
        "/monitoring/summary",
        "/gradio_api/vibe-code/",
        "/gradio_api/proxy=http://169.254.169.254/",
        "/gradio_api/deep_link?session_hash=s",
        "/gradio_api/queue/status",
        "/gradio_api/dev/reload",
        "/login",
    ],
)
def test_unneeded_addresses_are_closed(path: str) -> None:
    with pytest.raises(Refused) as refused:
        caller().fetch("GET", path)
    assert refused.value.status == 404


@pytest.mark.parametrize(
    "picture",
    [
        {"path": "http://169.254.169.254/latest/meta-data"},
        {"url": "http://169.254.169.254/", "path": ""},
        {"path": "http://[bad"},
        {"path": "/etc/passwd"},
        {"path": "data:image/png;base64,AAAA"},
        {"url": "data:image/png;base64,AAAA", "path": None},
        "http://127.0.0.1:1/x.png",
        {"path": "\x00"},
        [1],
    ],
    ids=str,
)
def test_a_refused_address_leaves_no_traceback(
    picture: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    if isinstance(picture, dict):
        picture = {**picture, "meta": {"_type": "gradio.FileData"}}
    with caplog.at_level(logging.WARNING), pytest.raises((Failed, Refused)) as refused:
        caller().ask("ask", [picture, QUESTION])
    assert "Traceback" not in str(refused.value) and len(str(refused.value)) < 400
    said = "".join(capfd.readouterr()) + caplog.text
    assert "Traceback" not in said, said


def test_health_says_whether_the_page_takes_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads(caller().fetch("GET", "/healthz")) == {"status": "ok"}
    monkeypatch.setattr(page()[0]._queue, "stopping", True)
    with pytest.raises(Refused) as stopping:
        caller().fetch("GET", "/healthz")
    assert stopping.value.status == 503 and json.loads(stopping.value.body) == {"status": "stopping"}
    with pytest.raises(Refused, match="The server is stopping: ask again in a minute"):
        caller().post("models", [])
