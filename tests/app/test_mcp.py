"""The endpoints as MCP tools, through a real MCP client; off unless asked for."""

from __future__ import annotations

import asyncio
import base64
import re
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from helpers.app_context import QUESTION, free_port, scene_path, serve, shared_address, shared_context
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from adafv_core.methods import METHODS


@cache
def address() -> str:
    """The address of a page of the shared site that was asked to serve MCP."""
    return serve(replace(shared_context(), settings=replace(shared_context().settings, mcp=True, port=free_port())))[1]


def in_a_session(work: Callable[[ClientSession], Awaitable[Any]]) -> Any:
    """What `work` returns, done in one MCP session, on a thread whose event loop is its own."""

    async def run() -> Any:
        async with (
            streamable_http_client(f"{address()}/gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            return await work(session)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, run()).result()


def call(tool: str, **arguments: Any) -> tuple[bool, str]:
    """Whether the tool failed, and the text it answered with."""
    result = in_a_session(lambda session: session.call_tool(tool, arguments))
    return bool(result.isError), "\n".join(part.text for part in result.content if part.type == "text")


def test_it_is_off_unless_asked_for() -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{shared_address()}/gradio_api/mcp/schema", timeout=30)
    assert refused.value.code == 404


def test_every_endpoint_is_a_tool_with_typed_and_described_arguments() -> None:
    tools = {tool.name: tool for tool in in_a_session(lambda session: session.list_tools()).tools}
    assert set(tools) == {
        "ask",
        "scores",
        "answer_strip",
        "causal_map",
        "compare",
        "sweep",
        "new_scene",
        "overlays",
        "run",
        "read_run",
        "models",
        "load_model",
        "stop",
        "study_results",
        "study",
    }
    for tool in tools.values():
        assert tool.description
        for name, argument in tool.inputSchema["properties"].items():
            assert isinstance(argument["type"], str) and argument["description"], f"{tool.name}: {name}"
    assert tools["sweep"].inputSchema["properties"]["methods"]["items"] == {"type": "string"}
    assert tools["sweep"].inputSchema["properties"]["methods"]["default"] == list(METHODS)
    assert tools["compare"].inputSchema["properties"]["b"]["type"] == "object"
    assert tools["ask"].inputSchema["properties"]["force_keep"]["items"] == {"type": "integer"}
    assert tools["ask"].inputSchema["properties"]["more_images"]["type"] == "array"
    assert "Position ids" in tools["ask"].inputSchema["properties"]["positions"]["description"]


def test_a_scene_is_drawn_and_asked_about_under_its_address() -> None:
    failed, drawn = call("new_scene")
    assert not failed
    scene = re.search(r"http://\S+?\.png", drawn)
    assert scene is not None
    failed, answer = call("ask", image=scene[0], prompt=QUESTION, max_new_tokens=4)
    assert not failed, answer
    assert "'n_kept': 20" in answer.replace('"', "'")


def test_two_ways_to_prune_are_compared() -> None:
    data = "data:image/png;base64," + base64.b64encode(scene_path().read_bytes()).decode()
    b = {"method": "random", "keep_ratio": 0.05}
    failed, text = call("compare", image=data, prompt=QUESTION, max_new_tokens=1, b=b)
    assert not failed and "'only_a'" in text.replace('"', "'") and "'median_s'" in text.replace('"', "'"), text


def test_a_picture_sent_as_data() -> None:
    data = "data:image/png;base64," + base64.b64encode(scene_path().read_bytes()).decode()
    failed, scores = call("scores", image=data, prompt=QUESTION, keep_ratio=0.25)
    assert not failed and "196" in scores


def test_several_pictures_by_address_and_as_data() -> None:
    data = "data:image/png;base64," + base64.b64encode(scene_path().read_bytes()).decode()
    scene = re.search(r"http://\S+?\.png", call("new_scene")[1])
    assert scene is not None
    more = {"more_images": [scene[0], data], "share": "all"}
    failed, answer = call("ask", image=data, prompt=QUESTION, max_new_tokens=1, with_full=False, **more)
    assert not failed and "'n_visual': 588" in answer.replace('"', "'"), answer
    failed, text = call("ask", image=data, prompt=QUESTION, more_images=["http://example.com/picture.png"])
    assert failed and "not its address" in text


@pytest.mark.parametrize(
    "image",
    [
        "http://example.com/picture.png",
        "http://127.0.0.1:9/gradio_api/file=/etc/passwd",
        "http://127.0.0.1:9/gradio_api/file=/tmp/gradio/../../etc/passwd",
        "http://127.0.0.1:9/gradio_api/file=/tmp/gradio/%2e%2e/%2e%2e/etc/passwd",
        "http://127.0.0.1:9/gradio_api/file=",
    ],
)
def test_no_other_address_is_read(image: str) -> None:
    failed, text = call("ask", image=image, prompt=QUESTION)
    assert failed and "not its address" in text and "root:" not in text


def test_bad_values_are_told_in_a_sentence() -> None:
    failed, text = call("ask", image="data:image/png;base64,AAAA", prompt=QUESTION)
    assert failed and "Traceback" not in text and text
    data = "data:image/png;base64," + base64.b64encode(scene_path().read_bytes()).decode()
    failed, text = call("ask", image=data, prompt=QUESTION, keep_ratio=7)
    assert failed and "keep_ratio" in text


def test_a_run_is_saved_and_read_under_its_address() -> None:
    data = "data:image/png;base64," + base64.b64encode(scene_path().read_bytes()).decode()
    failed, saved = call("run", image=data, prompt=QUESTION, max_new_tokens=4, with_full=False, force_keep=[5])
    assert not failed and saved.endswith("adafv-run.json"), saved
    failed, read = call("read_run", file=saved)
    assert not failed and "'force_keep': [5]" in read.replace('"', "'")
    failed, text = call("read_run", file="http://127.0.0.1:9/adafv-run.json")
    assert failed and "not its address" in text


@pytest.mark.parametrize(
    ("tool", "arguments"), [("stop", {}), pytest.param("load_model", {"name": "pocket"}, marks=pytest.mark.local)]
)
def test_nothing_is_changed_in_a_session_that_all_share(tool: str, arguments: dict[str, str]) -> None:
    failed, text = call(tool, **arguments)
    assert failed and "share one session" in text
