"""Requests a second, pruned against full: `PYTHONPATH=.:tests python -m helpers.serving_throughput ray` or `… vllm`.

Prints JSON: for each measured pair the ratios of its rounds. The two of a pair take turns, so that what else the
machine does meets both. `vllm` needs ADAFV_VLLM_PYTHON (see tests/engine/test_vllm.py).
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from adafv_core.engine.request import Request
from adafv_core.study.data.pocket import PocketSet

SECONDS, ROUNDS, CLIENTS = 4.0, 3, (1, 8, 32)
PRUNED, FULL = Request(keep_ratio=0.1, max_new_tokens=4), Request("full", max_new_tokens=4)
Ask = Callable[[int], object]


def rate(ask: Ask, clients: int, seconds: float = SECONDS) -> float:
    """Requests a second with this many clients, each asking again as soon as it is answered."""
    numbers = itertools.count()
    end = time.monotonic() + seconds

    def client(_: int) -> int:
        done = 0
        while time.monotonic() < end:
            ask(next(numbers))
            done += 1
        return done

    began = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        return sum(pool.map(client, range(clients))) / (time.monotonic() - began)


def ratios(one: Ask, other: Ask, clients: int) -> list[float]:
    """The rate of `one` over that of `other`, per round."""
    found = []
    for _ in range(ROUNDS):
        found.append(round(rate(one, clients) / rate(other, clients), 2))
    return found


def with_ray() -> dict[str, list[float]]:
    """Pruned over full on two replicas, and two replicas over one."""
    from ray import serve

    from adafv_core.backends import ray as backend

    backend.start_ray()
    engines = {}
    for count in (1, 2):
        given = {"device": "cpu", "min_replicas": count, "max_replicas": count, "num_cpus": 0.3}
        serve.run(backend.application(given), name=f"replicas-{count}", route_prefix=None)
        engines[count] = backend.RayEngine(serve.get_app_handle(f"replicas-{count}"))
    data = PocketSet("study", 16)
    items = data.items[::7][:16]
    scores = [engines[2].score(data.picture(item.image), item.question) for item in items]

    def asking(count: int, request: Request) -> Ask:
        return lambda n: engines[count].answer(scores[n % len(scores)], None, request)

    for ask in (asking(1, FULL), asking(2, FULL)):
        rate(ask, 8, 2.0)
    found = {}
    for clients in CLIENTS:
        found[f"pruned over full, 2 replicas, {clients} clients"] = ratios(asking(2, PRUNED), asking(2, FULL), clients)
        found[f"2 replicas over 1, full, {clients} clients"] = ratios(asking(2, FULL), asking(1, FULL), clients)
    return found


def with_vllm() -> dict[str, list[float]]:
    """Pruned over full on vLLM itself, and the front over vLLM itself."""
    import httpx
    from engine.test_vllm import chat, real_vllm
    from helpers.embeds_server import served

    from adafv_core.backends.vllm import export_language_model, prompt_embeddings
    from adafv_core.backends.vllm_proxy import REUSED_FOR_S, make_app
    from adafv_core.engine import load

    engine, folder = load("pocket", device="cpu"), Path(tempfile.mkdtemp())
    export_language_model(engine, folder)
    data = PocketSet("study", 16)
    items = data.items[::7][:16]
    prompts = {
        request.method: [
            prompt_embeddings(engine, data.picture(item.image), item.question, request).encoded() for item in items
        ]
        for request in (PRUNED, FULL)
    }
    chats = [chat(data.picture(item.image), item.question, max_tokens=4) for item in items]
    found = {}
    for upstream in real_vllm(folder, folder / "log"):
        limits = httpx.Limits(max_connections=None, keepalive_expiry=REUSED_FOR_S)
        with (
            httpx.Client(base_url=upstream.address, timeout=120, trust_env=False, limits=limits) as client,
            served(make_app(engine, upstream.address, PRUNED)) as address,
            httpx.Client(base_url=address, timeout=120, trust_env=False, limits=limits) as front,
        ):
            model = client.get("/v1/models").json()["data"][0]["id"]

            def asking(method: str, client: httpx.Client = client, model: str = model) -> Ask:
                body = {"model": model, "max_tokens": 4, "temperature": 0}
                return lambda n: client.post(
                    "/v1/completions", json={**body, "prompt_embeds": prompts[method][n % len(items)]}
                ).raise_for_status()

            def through_front(n: int, front: httpx.Client = front) -> object:
                return front.post("/v1/chat/completions", json=chats[n % len(items)]).raise_for_status()

            rate(asking("full"), 8, 2.0)
            rate(through_front, 8, 2.0)
            for clients in CLIENTS:
                found[f"pruned over full, {clients} clients"] = ratios(asking("adafv"), asking("full"), clients)
                found[f"front over vLLM itself, pruned, {clients} clients"] = ratios(
                    through_front, asking("adafv"), clients
                )
                print(json.dumps(found), flush=True)
    return found


if __name__ == "__main__":
    print(json.dumps({"ray": with_ray, "vllm": with_vllm}[sys.argv[1]](), indent=1))
