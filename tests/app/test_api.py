"""The endpoints through a real client, on the running page; and what the server tells."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from helpers.app_context import QUESTION, scene_path, shared_address, shared_context

from app.saved_runs.save_and_open import most_run_bytes
from app.wire.errors import UNFORESEEN

ROOT = Path(__file__).resolve().parents[2]

ENDPOINTS = {
    "/ask",
    "/scores",
    "/answer_strip",
    "/causal_map",
    "/compare",
    "/sweep",
    "/new_scene",
    "/overlays",
    "/run",
    "/read_run",
    "/models",
    "/load_model",
    "/stop",
    "/study_results",
    "/study",
}


@cache
def client() -> Client:
    return Client(shared_address(), verbose=False)


def test_ask_answers_with_numbers() -> None:
    result = client().predict(handle_file(scene_path()), QUESTION, 0.1, "adafv", 8, True, api_name="/ask")
    wanted = {
        "answer",
        "full_answer",
        "n_visual",
        "n_kept",
        "k_text",
        "k_visual",
        "ttft_s",
        "prefill_flops",
        "kv_cache_bytes",
        "tokens_per_s",
        "same",
        "kl_nats",
        "full",
    }
    assert wanted <= set(result)
    assert (result["n_visual"], result["n_kept"]) == (196, 20) and result["k_text"] + result["k_visual"] >= 20
    assert result["ttft_s"] > 0 and result["full"]["n_kept"] == 196


def test_ask_has_defaults() -> None:
    result = client().predict(image=handle_file(scene_path()), prompt=QUESTION, api_name="/ask")
    assert result["method"] == "adafv" and result["n_kept"] == 20


def test_scores_are_lists_of_one_length() -> None:
    result = client().predict(handle_file(scene_path()), QUESTION, 0.25, "t2i", api_name="/scores")
    assert {len(result[name]) for name in ("t2i", "saliency", "mixed", "kept")} == {result["n_visual"]} == {196}
    assert sum(result["kept"]) == 49
    assert result["grid"]["image_size"] == [672, 672]


def test_sweep_and_new_scene() -> None:
    path, about = client().predict(api_name="/new_scene")
    text = about["questions"][0]["question"]
    result = client().predict(handle_file(path), text, ["adafv", "random"], [0.1], api_name="/sweep")
    assert [row["method"] for row in result["rows"]] == ["full", "adafv", "random"] and result["complete"]


def test_every_action_is_documented_and_nothing_else_is_public() -> None:
    with urllib.request.urlopen(f"{shared_address()}/gradio_api/info", timeout=30) as answer:
        named = json.load(answer)["named_endpoints"]
    assert set(named) == ENDPOINTS
    for name in ("/ask", "/scores", "/answer_strip", "/causal_map", "/compare", "/sweep", "/overlays", "/run"):
        arguments = named[name]["parameters"]
        assert [one["parameter_name"] for one in arguments][:2] == ["image", "prompt"]
        assert all(one["label"] and one["python_type"]["type"] for one in arguments)
        assert [one["parameter_has_default"] for one in arguments[2:]] == [True] * len(arguments[2:])
    assert all(endpoint["description"] for endpoint in named.values())


def test_the_documents_list_every_endpoint_with_its_arguments() -> None:
    with urllib.request.urlopen(f"{shared_address()}/gradio_api/info", timeout=30) as answer:
        named = json.load(answer)["named_endpoints"]
    section = (ROOT / "docs" / "api.md").read_text(encoding="utf-8").split("\n## HTTP endpoints\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(/\w+)\((.*?)\)` \| (.+?) \|$", section, re.MULTILINE)
    more = re.search(r"^`…` stands for (.+?)\.", section, re.MULTILINE | re.DOTALL)
    assert more is not None
    rest = re.findall(r"`(\w+)`", more[1])
    listed = {name: arguments.replace("…", ", ".join(rest)).split(", ") for name, arguments, _ in rows}
    assert listed == {
        name: [one["parameter_name"] for one in endpoint["parameters"]] or [""] for name, endpoint in named.items()
    }


BAD = [
    ({"keep_ratio": 7}, "at most 1"),
    ({"keep_ratio": -1}, "at most 1"),
    ({"keep_ratio": "abc"}, "must be a number"),
    ({"keep_ratio": "NaN"}, "must be a number"),
    ({"keep_ratio": None}, "must be a number"),
    ({"method": "nope"}, "the methods are"),
    ({"method": "<img src=x onerror=1>"}, "&lt;img"),
    ({"prompt": "   "}, "no question yet"),
    ({"image": None}, "no image yet"),
    ({"temperature": None}, "The temperature must be a number, 100 for example; got nothing."),
    ({"temperature": 1e308}, "temperature (100 by default) must be above 0 and at most 1,000,000; got 1e+308"),
    ({"temperature": -1}, "at most 1,000,000"),
    ({"floor": 0.7}, "from 0 to 0.5"),
    ({"floor": "half"}, "The floor must be a number"),
    ({"text_tokens": "<b>"}, "text tokens must be question or all; got '&lt;b&gt;'."),
    ({"positions": 3}, "positions must be default, contiguous, original; got 3"),
    ({"force_keep": [-1]}, "force_keep must be a list of token indices, numbered from 0; got [-1]."),
    ({"force_keep": [1.5]}, "force_keep must be a list of token indices"),
    ({"force_drop": [True]}, "force_drop must be a list of token indices"),
    ({"force_drop": {"a": 1}}, "force_drop must be a list of token indices"),
    ({"force_keep": [196]}, "this image has 196 visual tokens"),
    ({"force_keep": [1], "force_drop": [1]}, "both force_keep and force_drop"),
    ({"force_keep": list(range(30))}, "keep more tokens or force fewer"),
    ({"force_keep": [1], "method": "t2i"}, "force_keep and force_drop are for the method adafv"),
]
BAD_SWEEPS = [
    ({"methods": []}, "methods must be a list with at least one entry, saliency and adafv for example; got nothing."),
    ({"keep_ratios": []}, "at least one entry"),
    ({"keep_ratios": [2]}, "at most 1"),
    ({"methods": "<img>"}, "&lt;img&gt;"),
    ({"max_new_tokens": 0}, "whole number from 1 to 512"),
]


@pytest.mark.parametrize(("change", "said"), BAD)
def test_wrong_values_get_a_sentence_and_no_traceback(change: dict[str, Any], said: str) -> None:
    values = {"image": handle_file(scene_path()), "prompt": QUESTION, "keep_ratio": 0.1, "method": "adafv", **change}
    for name in ("/scores", "/ask"):
        with pytest.raises(AppError) as raised:
            client().predict(**values, api_name=name)
        assert said in str(raised.value)
        assert "Traceback" not in str(raised.value) and ".py" not in str(raised.value)


@pytest.mark.parametrize(("change", "said"), BAD_SWEEPS)
def test_wrong_sweeps_get_a_sentence(change: dict[str, Any], said: str) -> None:
    with pytest.raises(AppError) as raised:
        client().predict(image=handle_file(scene_path()), prompt=QUESTION, **change, api_name="/sweep")
    assert said in str(raised.value)


@pytest.mark.parametrize("value", ["maybe", "true", 1, None])
def test_with_full_is_true_or_false(value: Any) -> None:
    for name in ("/ask", "/run"):
        with pytest.raises(AppError, match="must be true or false"):
            client().predict(image=handle_file(scene_path()), prompt=QUESTION, with_full=value, api_name=name)


def call(name: str, data: list[Any]) -> str:
    """What the server answers to a raw call, all of it."""
    request = urllib.request.Request(
        f"{shared_address()}/gradio_api/call/{name}",
        json.dumps({"data": data}).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            event = json.load(answer)["event_id"]
        with urllib.request.urlopen(f"{shared_address()}/gradio_api/call/{name}/{event}", timeout=60) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return error.read().decode()


@pytest.mark.parametrize(
    "image",
    [
        {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
        {"path": "http://127.0.0.1:9/picture.png", "meta": {"_type": "gradio.FileData"}},
        {"path": "x.png", "url": "http://127.0.0.1:9/picture.png", "meta": {"_type": "gradio.FileData"}},
        {"path": "/etc/passwd"},
        {"path": str(ROOT / "assets" / "example.png")},
        "/etc/passwd",
        5,
        "abc",
        [],
        {"url": "data:image/svg+xml;base64,PHN2Zy8+", "path": "x.svg", "meta": {"_type": "gradio.FileData"}},
    ],
)
def test_only_uploaded_files_are_read(image: Any) -> None:
    answer = call("scores", [image, "what is this?", 0.1, "adafv"])
    assert re.search(r'event: error\ndata: {"error": "[^"]{20,}\."', answer), answer
    assert "root:" not in answer and "Traceback" not in answer and "t2i" not in answer


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("scores", [], "/scores needs image and then prompt; no values came."),
        ("ask", [None], "/ask needs image and then prompt; 1 value came."),
        ("ask", [None, "what is it?", 0.1, "adafv", 4, True], "There is no image yet"),
        ("read_run", [], "/read_run needs file; no values came."),
        ("read_run", [5], "file: only a file that was sent to this page is taken."),
        ("read_run", [{"path": "/etc/passwd"}], "file: only a file that was sent"),
        ("read_run", [None], "There is no file yet"),
        pytest.param("load_model", [""], "Name a model to load", marks=pytest.mark.local),
    ],
)
def test_values_that_are_missing(name: str, data: list[Any], said: str) -> None:
    assert f'"error": "{said}' in call(name, data)


def test_arguments_left_out_at_the_end_take_their_defaults() -> None:
    sent = client().predict(handle_file(scene_path()), QUESTION, api_name="/scores")
    path = str(client().predict(handle_file(scene_path()), QUESTION, api_name="/overlays"))
    picture = {"path": path, "meta": {"_type": "gradio.FileData"}}
    assert f'"n_visual": {sent["n_visual"]}' in call("scores", [picture, QUESTION])


def test_an_error_that_nobody_foresaw_stays_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(path: Any, *_: Any) -> Any:
        raise RuntimeError(f"<secret> {path}")

    monkeypatch.setattr(shared_context().service, "picture", broken)
    with pytest.raises(AppError) as raised:
        client().predict(handle_file(scene_path()), QUESTION, api_name="/scores")
    assert str(raised.value) == UNFORESEEN and "RuntimeError: <secret>" in caplog.text


def test_two_clients_have_two_sessions() -> None:
    other = Client(shared_address(), verbose=False)
    one = client().predict(handle_file(scene_path(3)), QUESTION, 0.1, "adafv", api_name="/scores")
    two = other.predict(handle_file(scene_path(11)), QUESTION, 0.1, "adafv", api_name="/scores")
    again = client().predict(handle_file(scene_path(3)), QUESTION, 0.1, "adafv", api_name="/scores")
    assert one == again and one["t2i"] != two["t2i"]


def test_nothing_is_monitored_recorded_or_shared() -> None:
    with urllib.request.urlopen(f"{shared_address()}/config", timeout=30) as answer:
        config = json.load(answer)
    assert config["analytics_enabled"] is False and config["vibe_mode"] is False
    assert not config.get("run_history")
    for path in ("/monitoring", "/monitoring/summary", "/gradio_api/file=/etc/passwd", "/gradio_api/file=README.md"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{shared_address()}{path}", timeout=30)
        assert refused.value.code in (401, 403, 404)


def test_large_uploads_are_refused() -> None:
    limit = most_run_bytes(shared_context().settings)
    boundary = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    body = boundary + b"0" * (limit + 1) + b"\r\n--b--\r\n"
    request = urllib.request.Request(
        f"{shared_address()}/gradio_api/upload", body, {"Content-Type": "multipart/form-data; boundary=b"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=60)
    assert refused.value.code in (413, 400, 500)


def test_a_picture_keeps_its_own_limit_below_that_of_uploads(tmp_path: Path) -> None:
    limit = shared_context().settings.max_image_bytes
    large = tmp_path / "large.png"
    large.write_bytes(scene_path(3).read_bytes().ljust(limit + 1, b"0"))
    with pytest.raises(AppError, match=r"at most 21\.0 MB are taken"):
        client().predict(handle_file(large), QUESTION, 0.1, "adafv", api_name="/scores")


def test_it_refuses_to_start_in_vibe_mode() -> None:
    started = subprocess.run(
        [sys.executable, "-m", "app"],
        cwd=ROOT,
        env={**os.environ, "GRADIO_VIBE_MODE": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert started.returncode != 0 and "GRADIO_VIBE_MODE" in started.stderr
