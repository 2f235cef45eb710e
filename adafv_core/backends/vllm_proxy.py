"""`adafv serve-vllm-proxy`: an OpenAI-compatible front before a vLLM server that prunes the images of its chats.

Any OpenAI client gains pruning by changing its base URL. Pictures and texts come in here; only this process sends
embeddings to the server behind, which therefore has to listen on loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import ipaddress
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from adafv_core.errors import AdaFVError, InputError, OutOfMemoryError

if TYPE_CHECKING:
    import httpx
    from starlette.applications import Starlette
    from starlette.requests import Request as HttpRequest
    from starlette.responses import Response

    from adafv_core.backends.vllm import PrunedPrompt
    from adafv_core.engine import Engine
    from adafv_core.engine.request import Request

_PACKAGES = ("starlette", "uvicorn", "httpx")
MAX_BODY_BYTES = 32 * 1024**2
READ_S = 600.0
REUSED_FOR_S = 2.0
"""How long an idle connection to vLLM is used again: its server closes them after 5 s, and a request that meets that
moment would be lost."""


def make_parser(prog: str = "adafv serve-vllm-proxy") -> argparse.ArgumentParser:
    """Every option with its meaning and default."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="An OpenAI-compatible chat server that prunes visual tokens and lets a vLLM server "
        "(--enable-prompt-embeds, on loopback) generate the answers.",
    )
    add = parser.add_argument
    add("--model", default="pocket", help="pocket, a model id, or a model folder: the model that vLLM serves [pocket]")
    add("--upstream", default="http://127.0.0.1:8000", help="where vLLM listens, on loopback [%(default)s]")
    add("--host", default="127.0.0.1", help="address to listen on [%(default)s]")
    add("--port", type=int, default=8001, help="port to listen on [%(default)s]")
    add("--keep", type=float, metavar="RATIO", default=0.1, help="share kept where a request names none [%(default)s]")
    add("--method", default="adafv", help="method where a request names none [%(default)s]")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps [auto]")
    add("--dtype", default="auto", help="auto, float32, bfloat16, float16 [auto]")
    add("--export", type=Path, metavar="FOLDER", help="write the model's LLM there, for `vllm serve`, and end")
    return parser


def main(arguments: Sequence[str] | None = None, prog: str = "adafv serve-vllm-proxy") -> int:
    """Serve until stopped, or export. Returns 0; 2 on wrong input or a missing package."""
    options = make_parser(prog).parse_args(arguments)
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        print(
            f"error: this needs packages that are not installed; run: pip install {' '.join(missing)}", file=sys.stderr
        )
        return 2
    try:
        return _main(options)
    except AdaFVError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _main(options: argparse.Namespace) -> int:
    import uvicorn

    from adafv_core.backends.vllm import check_request, check_servable, export_language_model
    from adafv_core.engine import load
    from adafv_core.engine.request import Request

    upstream = check_upstream(options.upstream)
    default = Request(options.method, keep_ratio=options.keep)
    check_request(default)
    engine = load(options.model, options.device, options.dtype)
    check_servable(engine)
    if options.export is not None:
        export_language_model(engine, options.export)
        print(f"The LLM of {options.model} is in {options.export}")
        return 0
    print(f"Chats at http://{options.host}:{options.port}/v1, answers from {upstream}", flush=True)
    uvicorn.run(make_app(engine, upstream, default), host=options.host, port=options.port, log_level="warning")
    return 0


def check_upstream(address: str) -> str:
    """The server's address without a trailing slash. Raises InputError unless it is on loopback."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if parts.scheme != "http" or not is_loopback:
        raise InputError(
            f"--upstream is an address on loopback such as http://127.0.0.1:8000; got {address!r}. A server that takes "
            "embeddings must not be reachable from elsewhere: run this beside it."
        )
    return address.rstrip("/").removesuffix("/v1")


def make_app(engine: Engine, upstream: str, default: Request) -> Starlette:
    """The server. default: how to prune where a request does not say it."""
    import httpx
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse, StreamingResponse
    from starlette.responses import Response as PlainResponse
    from starlette.routing import Route

    from adafv_core.backends.openai_chat import ChatChunks, ImageChat, chat_of, error_body, read_chat
    from adafv_core.backends.vllm import check_request, prompt_embeddings

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        limits = httpx.Limits(max_connections=None, keepalive_expiry=REUSED_FOR_S)
        async with httpx.AsyncClient(
            base_url=upstream, timeout=httpx.Timeout(READ_S, connect=5.0), limits=limits, trust_env=False
        ) as client:
            app.state.client = client
            yield

    def prepare(body: bytes) -> tuple[ImageChat, PrunedPrompt, str]:
        try:
            chat = read_chat(json.loads(body), default)
        except ValueError as error:
            raise error if isinstance(error, AdaFVError) else InputError("The body is not valid JSON.") from None
        check_request(chat.request)
        pruned = prompt_embeddings(engine, chat.image, chat.prompt, chat.request, chat.history)
        return chat, pruned, pruned.encoded()

    async def chats(request: HttpRequest) -> Response:
        body = await _body(request)
        if body is None:
            return JSONResponse(error_body(f"The request is larger than {MAX_BODY_BYTES:,} bytes."), 413)
        client: httpx.AsyncClient = request.app.state.client
        try:
            chat, pruned, embeddings = await asyncio.to_thread(prepare, body)
            completion = {
                **chat.sampling,
                "model": chat.model or await _served_model(client),
                "prompt_embeds": embeddings,
                "max_tokens": chat.request.max_new_tokens,
                "stream": chat.stream,
                **({"stream_options": {"include_usage": True}} if chat.stream and chat.with_usage else {}),
            }
            sent = client.build_request("POST", "/v1/completions", json=completion)
            answer = await client.send(sent, stream=True)
        except AdaFVError as error:
            status = 400 if isinstance(error, InputError) else 503 if isinstance(error, OutOfMemoryError) else 500
            kind = "invalid_request_error" if status == 400 else "server_error"
            return JSONResponse(error_body(str(error), kind), status)
        except httpx.HTTPError as error:
            why = f"The vLLM server at {upstream} does not answer ({type(error).__name__}): start it, or see its log."
            return JSONResponse(error_body(why, "server_error"), 502)
        if answer.status_code != 200:
            content = await answer.aread()
            return PlainResponse(content, answer.status_code, media_type=answer.headers.get("content-type"))
        facts = pruning_facts(pruned)
        if not chat.stream:
            await answer.aread()
            return JSONResponse(chat_of(answer.json(), facts))

        async def lines() -> AsyncIterator[str]:
            chunks = ChatChunks(facts)
            try:
                async for line in answer.aiter_lines():
                    converted = chunks.convert(line)
                    if converted is not None:
                        yield converted
            except httpx.HTTPError:
                lost = error_body("The vLLM server ended in the middle of this answer: ask again.", "server_error")
                yield f"data: {json.dumps(lost)}\n\n"
            finally:  # also where the client has hung up: the server then stops
                await answer.aclose()

        return StreamingResponse(lines(), media_type="text/event-stream")

    async def models(request: HttpRequest) -> Response:
        try:
            answer = await request.app.state.client.get("/v1/models")
        except httpx.HTTPError:
            return JSONResponse(error_body(f"The vLLM server at {upstream} does not answer.", "server_error"), 502)
        return PlainResponse(answer.content, answer.status_code, media_type=answer.headers.get("content-type"))

    routes = [Route("/v1/chat/completions", chats, methods=["POST"]), Route("/v1/models", models)]
    return Starlette(routes=routes, lifespan=lifespan)


def pruning_facts(pruned: PrunedPrompt) -> dict[str, object]:
    """The "adafv" of an answer: what was kept, and how long that took."""
    return {
        "method": pruned.selection.method,
        "n_visual": pruned.n_visual,
        "n_kept": pruned.selection.size,
        "n_text": pruned.n_text,
        "encode_s": round(pruned.encode_s, 5),
        "select_s": round(pruned.select_s, 5),
    }


async def _body(request: HttpRequest) -> bytes | None:
    """The body, or None if it is too large."""
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > MAX_BODY_BYTES:
            return None
    return bytes(content)


async def _served_model(client: httpx.AsyncClient) -> Any:
    answer = await client.get("/v1/models")
    answer.raise_for_status()
    return answer.json()["data"][0]["id"]
