"""Pruned prompts as embeddings, and the OpenAI-compatible front, over HTTP before a server that takes embeddings.

The server is one of the tests' own, which runs the bundled model's LLM by stock `generate(inputs_embeds=…)`; with
ADAFV_VLLM_PYTHON set to the interpreter of an environment that has vLLM, also a real vLLM (marked `nightly`).
"""

from __future__ import annotations

import base64
import io
import json
import math
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from helpers.embeds_server import EmbedsServer, served
from helpers.models_shared import engine_of
from helpers.running_app import free_port
from PIL import Image

from adafv_core.backends.openai_chat import MAX_IMAGE_BYTES, ChatChunks, read_chat
from adafv_core.backends.vllm import PrunedPrompt, export_language_model, prompt_embeddings
from adafv_core.backends.vllm_proxy import check_upstream, main, make_app
from adafv_core.engine import Engine, load
from adafv_core.engine.request import Request
from adafv_core.errors import AdaFVError, InputError, ModelError, UnsupportedModelError
from adafv_core.methods import METHODS
from adafv_core.study.data.pocket import PocketSet

VLLM_PYTHON = os.environ.get("ADAFV_VLLM_PYTHON", "")
QUESTIONS_OF_A_REAL_SERVER = 60
BUDGETS = (0.05, 0.1, 0.25, 0.5, 1.0)
LONGEST_START_S = 300


@pytest.fixture(scope="module")
def engine() -> Engine:
    return load("pocket", device="cpu")


@pytest.fixture(scope="module")
def data() -> PocketSet:
    return PocketSet("study", 20)


@dataclass
class Upstream:
    """A server that takes embeddings. own: the tests' own, None for a real vLLM."""

    address: str
    own: EmbedsServer | None

    def tokens(self) -> int:
        """How many tokens it has generated since it started."""
        if self.own is not None:
            return self.own.tokens
        text = httpx.get(f"{self.address}/metrics", trust_env=False).text
        (count,) = re.findall(r"^vllm:generation_tokens_total\{.*?\} (\S+)$", text, re.MULTILINE)
        return int(float(count))


@pytest.fixture(
    scope="module",
    params=["stock generate", pytest.param("vLLM", marks=pytest.mark.nightly)],
)
def upstream(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    if request.param == "stock generate":
        server = EmbedsServer(load("pocket", device="cpu"))
        with served(server.app) as address:
            yield Upstream(address, server)
        return
    if not VLLM_PYTHON:
        pytest.skip("set ADAFV_VLLM_PYTHON to the Python of an environment with vLLM (docs/serving.md)")
    folder = tmp_path_factory.mktemp("llm")
    export_language_model(request.getfixturevalue("engine"), folder)
    yield from real_vllm(folder, folder / "log")


def real_vllm(folder: Path, log: Path) -> Iterator[Upstream]:
    """A vLLM server on this machine's CPU."""
    port = free_port()
    flags = ["--dtype", "float32", "--max-model-len", "1024", "--enforce-eager", "--enable-prompt-embeds"]
    command = [VLLM_PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), *flags]
    variables = {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "2",
    }
    address = f"http://127.0.0.1:{port}"
    with log.open("w") as out:
        place = ["--host", "127.0.0.1", "--port", str(port), "--no-enable-prefix-caching"]
        program = subprocess.Popen(
            [*command, *place], env={**os.environ, **variables}, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        end = time.monotonic() + LONGEST_START_S
        while True:
            assert program.poll() is None and time.monotonic() < end, log.read_text()[-3000:]
            try:
                if httpx.get(f"{address}/health", trust_env=False).status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.5)
        yield Upstream(address, None)
    finally:
        program.terminate()
        program.wait(timeout=30)


@pytest.fixture(scope="module")
def client(engine: Engine, upstream: Upstream) -> Iterator[httpx.Client]:
    with (
        served(make_app(engine, upstream.address, Request(keep_ratio=0.1))) as address,
        httpx.Client(base_url=address, timeout=120, trust_env=False) as found,
    ):
        yield found


def data_url(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def message(image: Image.Image, question: str) -> dict[str, Any]:
    parts = [{"type": "image_url", "image_url": {"url": data_url(image)}}, {"type": "text", "text": question}]
    return {"role": "user", "content": parts}


def chat(image: Image.Image, question: str, keep: float = 0.1, **more: Any) -> dict[str, Any]:
    return {
        "messages": [message(image, question)],
        "temperature": 0,
        "max_tokens": 8,
        "adafv": {"keep_ratio": keep},
        **more,
    }


def asked(data: PocketSet, upstream: Upstream) -> list[tuple[Image.Image, str, float]]:
    """Questions with a budget each: different ones beside each other."""
    count = 20 if upstream.own else QUESTIONS_OF_A_REAL_SERVER
    step = max(1, len(data.items) // count)
    items = data.items[::step][:count]
    return [(data.picture(one.image), one.question, BUDGETS[n % len(BUDGETS)]) for n, one in enumerate(items)]


def test_answers_are_those_of_the_engine_at_different_budgets_at_once(
    engine: Engine, data: PocketSet, upstream: Upstream, client: httpx.Client
) -> None:
    questions = asked(data, upstream)
    assert len(questions) >= (20 if upstream.own else 50)
    expected = [engine.answer(image, text, keep, max_new_tokens=8) for image, text, keep in questions]
    with ThreadPoolExecutor(16) as pool:
        bodies = [chat(*one) for one in questions]
        answers = list(pool.map(lambda body: client.post("/v1/chat/completions", json=body).json(), bodies))
    for answer, wanted in zip(answers, expected, strict=True):
        assert answer["choices"][0]["message"] == {"role": "assistant", "content": wanted.text}
        assert answer["object"] == "chat.completion"
        assert (answer["adafv"]["n_kept"], answer["adafv"]["n_visual"]) == (wanted.n_kept, wanted.n_visual)
        assert answer["usage"]["prompt_tokens"] == wanted.n_kept + wanted.n_text, "pruned before the server"


def test_a_stream(engine: Engine, data: PocketSet, client: httpx.Client) -> None:
    image, text = data.picture(data.items[0].image), data.items[0].question
    body = chat(image, text, stream=True)
    with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line]
    assert lines.pop() == "[DONE]"
    chunks = [json.loads(line) for line in lines]
    deltas = [one["choices"][0]["delta"] for one in chunks if one["choices"]]
    assert deltas[0]["role"] == "assistant" and chunks[0]["adafv"]["method"] == "adafv"
    assert "".join(one.get("content", "") for one in deltas).strip() == engine.answer(image, text, 0.1).text
    assert len(deltas) > 1 and all(one["object"] == "chat.completion.chunk" for one in chunks)


class ClosesIdle(BaseHTTPRequestHandler):
    """Lists a model; a connection that was idle for longer than `IDLE_S` is closed by the request that uses it again,
    as if its closing had just been under way."""

    protocol_version = "HTTP/1.1"
    IDLE_S = 2.2
    last_s = math.inf

    def do_GET(self) -> None:
        if time.monotonic() - self.last_s > self.IDLE_S:
            self.close_connection = True
            return
        body = b'{"data": [{"id": "the-llm"}]}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.last_s = time.monotonic()

    def log_message(self, *args: Any) -> None:
        pass


def test_a_connection_that_vllm_is_about_to_close_is_not_used_again(engine: Engine) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), ClosesIdle) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        upstream = f"http://127.0.0.1:{server.server_address[1]}"
        with served(make_app(engine, upstream, Request())) as address:
            for wait_s in (0.0, 0.0, ClosesIdle.IDLE_S + 0.3):
                time.sleep(wait_s)
                assert httpx.get(f"{address}/v1/models", trust_env=False).status_code == 200, wait_s
        server.shutdown()


def test_a_client_that_hangs_up_stops_the_server(data: PocketSet, upstream: Upstream, client: httpx.Client) -> None:
    before, longest = upstream.tokens(), 900
    more: dict[str, Any] = {"max_tokens": longest, "ignore_eos": True}
    body = chat(data.picture(data.items[0].image), data.items[0].question, stream=True, **more)
    with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        next(answer.iter_lines())
    settled, end = -1, time.monotonic() + 20
    while settled != (now := upstream.tokens()) and time.monotonic() < end:
        settled = now
        time.sleep(0.5)
    assert settled - before < longest


def test_history_and_options(engine: Engine, data: PocketSet, client: httpx.Client) -> None:
    item = data.items[0]
    image = data.picture(item.image)
    first = engine.answer(image, item.question, 0.2, "visionzip")
    second = "What color is the largest object?"
    messages = [message(image, item.question), {"role": "assistant", "content": first.text}]
    messages.append({"role": "user", "content": second})
    body = {"messages": messages, "max_tokens": 8, "temperature": 0, "adafv": {"method": "visionzip", "budget": 40}}
    answer = client.post("/v1/chat/completions", json=body).json()
    wanted = engine.answer(
        image, second, method="visionzip", budget=40, max_new_tokens=8, history=[(item.question, first.text)]
    )
    assert answer["choices"][0]["message"]["content"] == wanted.text and answer["adafv"]["n_kept"] == wanted.n_kept
    assert client.get("/v1/models").json()["data"][0]["id"]


def test_errors_of_the_server_are_passed_on(data: PocketSet, client: httpx.Client) -> None:
    body = chat(data.picture(data.items[0].image), "What is it?", model="nobody")
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 404 and "nobody" in answer.json()["error"]["message"]


def test_no_server_behind(engine: Engine, data: PocketSet) -> None:
    app = make_app(engine, f"http://127.0.0.1:{free_port()}", Request())
    with served(app) as address, httpx.Client(base_url=address, trust_env=False) as client:
        answer = client.post("/v1/chat/completions", json=chat(data.picture(data.items[0].image), "What is it?"))
        assert answer.status_code == 502 and "does not answer" in answer.json()["error"]["message"]
        assert client.get("/v1/models").status_code == 502
        wrong = client.post("/v1/chat/completions", content=b"{")
        assert wrong.status_code == 400 and wrong.json()["error"]["message"] == "The body is not valid JSON."


PICTURE = data_url(Image.new("RGB", (8, 8)))


def body_with(**changes: Any) -> dict[str, Any]:
    content = [{"type": "image_url", "image_url": {"url": PICTURE}}, {"type": "text", "text": "What?"}]
    return {"messages": [{"role": "user", "content": content}], **changes}


def parts(*found: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(found)}]


def picture_at(url: str) -> list[dict[str, Any]]:
    return parts({"type": "image_url", "image_url": {"url": url}})


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ([], "Expected a JSON object"),
        (body_with(tools=[{}]), "'tools' is not supported"),
        (body_with(prompt_embeds="AAAA"), "'prompt_embeds' is not supported"),
        (body_with(n=2), "One answer a request; got n = 2"),
        (body_with(messages="hello"), '"messages" is a list'),
        (body_with(messages=[]), '"messages" is a list'),
        (body_with(messages=[{"role": "system", "content": "Be brief."}]), "no system message"),
        (body_with(messages=[{"role": "assistant", "content": "Hi"}]), "Roles take turns"),
        (
            body_with(messages=[{"role": "user", "content": "Hi"}]),
            "Expected one image_url part in the first message, got 0",
        ),
        (
            body_with(messages=parts({"type": "prompt_embeds", "data": "AAAA"})),
            "a text or an image_url; got 'prompt_embeds'",
        ),
        (body_with(messages=picture_at("https://example.org/a.png")), "not fetched"),
        (body_with(messages=picture_at("file:///etc/passwd")), "not fetched"),
        (body_with(messages=picture_at("data:image/png;base64,$$")), "base64"),
        (body_with(messages=picture_at("data:image/png;base64,AAAA")), "cannot be read"),
        (body_with(adafv=7), '"adafv" is an object'),
        (
            body_with(adafv={"keep": 0.1}),
            "\"adafv\" has no field 'keep'; expected budget, flops_ratio, keep_ratio, method",
        ),
        (body_with(adafv={"keep_ratio": 7}), "keep"),
        (body_with(adafv={"method": "fast"}), "fast"),
        (body_with(adafv={"options": 3}), "are an object"),
        (body_with(max_tokens=0), "max_new_tokens"),
    ],
)
def test_what_is_not_carried_out_is_refused_in_a_sentence(body: object, sentence: str) -> None:
    with pytest.raises(AdaFVError) as refused:
        read_chat(body, Request())
    assert sentence in str(refused.value) and "\n" not in str(refused.value)


def test_a_picture_that_is_too_large() -> None:
    url = "data:image/png;base64," + "A" * (MAX_IMAGE_BYTES * 4 // 3 + 8)
    with pytest.raises(InputError, match="larger than"):
        read_chat(body_with(messages=parts({"type": "image_url", "image_url": {"url": url}})), Request())


def test_defaults_of_the_front_hold_where_a_request_names_none() -> None:
    default = Request("visionzip", {}, keep_ratio=0.3)
    assert read_chat(body_with(), default).request.keep_ratio == 0.3
    assert read_chat(body_with(), default).request.method == "visionzip"
    own = read_chat(body_with(adafv={"method": "adafv", "options": {"floor": 0.25}, "budget": 9}), default).request
    assert (own.method, own.budget, own.keep_ratio, dict(own.options)) == ("adafv", 9, None, {"floor": 0.25})
    by_flops = read_chat(body_with(adafv={"flops_ratio": 0.5}), default).request
    assert (by_flops.method, by_flops.flops_ratio, by_flops.keep_ratio) == ("visionzip", 0.5, None)


def test_chunks() -> None:
    chunks = ChatChunks({"n_kept": 3})
    assert chunks.convert("") is None and chunks.convert(": a comment") is None
    texts = []
    for piece in (" ", " a", " b"):
        line = json.dumps({"id": "cmpl-1", "choices": [{"index": 0, "text": piece, "finish_reason": None}]})
        converted = chunks.convert(f"data: {line}")
        assert converted is not None and converted.endswith("\n\n")
        texts.append(json.loads(converted.removeprefix("data: "))["choices"][0]["delta"])
    assert texts == [{"role": "assistant"}, {"content": "a"}, {"content": " b"}]
    error = json.dumps({"error": {"message": "gone"}})
    assert chunks.convert(f"data: {error}") == f"data: {error}\n\n"
    assert chunks.convert("data: [DONE]") == "data: [DONE]\n\n"


def test_embeddings_travel_alone_and_finite(engine: Engine, data: PocketSet) -> None:
    prompt = prompt_embeddings(engine, data.picture(data.items[0].image), "What is it?", Request(keep_ratio=0.1))
    sent = base64.b64decode(prompt.encoded())
    assert torch.equal(torch.load(io.BytesIO(sent), weights_only=True), prompt.embeddings)
    part = replace(prompt, embeddings=prompt.embeddings.repeat(50, 1)[: prompt.embeddings.shape[0]])
    assert len(base64.b64decode(part.encoded())) < 2 * len(sent), "of a view only what is seen"
    broken = prompt.embeddings.clone()
    broken[3, 1] = float("nan")
    with pytest.raises(ModelError, match="not finite"):
        PrunedPrompt(broken, prompt.selection, 1, 1, 0, 0.0, 0.0).encoded()


def test_what_embeddings_cannot_carry(engine: Engine, data: PocketSet) -> None:
    image = data.picture(data.items[0].image)
    inside = [name for name, kind in METHODS.items() if kind.inside_llm]
    assert inside
    for name in inside:
        with pytest.raises(InputError, match="between the LLM's layers"):
            prompt_embeddings(engine, image, "What is it?", Request(name))
    with pytest.raises(InputError, match="numbers the tokens itself"):
        prompt_embeddings(engine, image, "What is it?", Request(positions="original"))
    with pytest.raises(UnsupportedModelError, match="M-RoPE"):
        prompt_embeddings(engine_of("qwen2_vl"), image, "What is it?")


@pytest.mark.parametrize(
    "address",
    ["http://10.0.0.5:8000", "https://127.0.0.1:8000", "http://example.org", "127.0.0.1:8000", "http://0.0.0.0:1"],
)
def test_embeddings_go_to_loopback_only(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--upstream", address]) == 2
    assert "an address on loopback" in capsys.readouterr().err


def test_addresses_on_loopback() -> None:
    assert check_upstream("http://127.0.0.1:8000/v1/") == "http://127.0.0.1:8000"
    assert check_upstream("http://[::1]:8000") == "http://[::1]:8000"
    assert main(["--method", "fastv"]) == 2


def test_the_exported_llm_is_the_models(engine: Engine, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    assert main(["--export", str(tmp_path), "--device", "cpu"]) == 0
    exported = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        assert torch.equal(exported(ids).logits, engine.model(input_ids=ids).logits)
