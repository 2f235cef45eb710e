"""ZeroGPU's way of working, imitated: each call of a GPU function runs in a forked process with pickled values.

Run as a program: it puts a `spaces` module of its own in place, asks the pocket model with and without it, and
prints as JSON what the two did. What the real package does on ZeroGPU and this imitates: arguments and values are
pickled; the process is forked when the function is first called and kept for all later calls, so that it knows
nothing of what was loaded since; what it changes stays there; closing the generator ends the work in the other process
at its next value; where there is no GPU, and where the function fails, gradio's Error comes, told apart by its title.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CALLS: list[tuple[str, int]] = []
FORKS: list[int | None] = []
REFUSED: list[Exception] = []
END = None
"""Comes back after the last value."""


class Failed:
    """What goes wrong in the other process, as it comes back: by the name of its class."""

    def __init__(self, error: Exception) -> None:
        self.kind = type(error).__name__


def GPU(task: Callable[..., Iterator[Any]], *, duration: Callable[..., int]) -> Callable[..., Iterator[Any]]:
    """The decorator, for generators."""
    workers: list[tuple[Any, Any]] = []
    context = multiprocessing.get_context("fork")

    def call(*arguments: Any) -> Iterator[Any]:
        CALLS.append((arguments[1], duration(*arguments)))
        if REFUSED:
            raise REFUSED[0]
        if not workers:
            here, there = context.Pipe()
            process = context.Process(target=work, args=(there,), daemon=True)
            process.start()
            FORKS.append(process.pid)
            workers.append((here, process))
        here, process = workers.pop()
        here.send(pickle.dumps(arguments))
        ended = False
        try:
            while (received := pickle.loads(here.recv())) is not END:
                if isinstance(received, Failed):
                    raise spaces_error("ZeroGPU worker error", received.kind)
                yield received
                here.send(True)
            ended = True
        finally:
            if not ended:
                here.send(False)
            workers.append((here, process))

    def work(there: Any) -> None:
        while True:
            try:
                for value in task(*pickle.loads(there.recv())):
                    there.send(pickle.dumps(value))
                    if not there.recv():
                        break
                else:
                    there.send(pickle.dumps(END))
            except EOFError:
                return
            except Exception as error:
                there.send(pickle.dumps(Failed(error)))
                there.recv()

    return call


def spaces_error(title: str, message: str) -> Exception:
    """The error that the real package raises, where there is no GPU and where the function fails alike."""
    import gradio

    return gradio.Error(message, title=title, print_exception=False)


def main() -> None:
    """Ask with and without the imitation, and print what came."""
    imitation = types.ModuleType("spaces")
    imitation.GPU = GPU  # type: ignore[attr-defined]
    sys.modules["spaces"] = imitation
    os.environ["SPACES_ZERO_GPU"] = "true"
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

    import torch
    from PIL import Image

    import adafv_core
    from adafv_core.errors import PromptError
    from app.serving.zero_gpu import ZeroGpuEngine, for_this_machine, on_zero_gpu

    torch.set_num_threads(1)
    picture = Image.open(Path(__file__).resolve().parents[2] / "assets" / "example.png")
    question = "What shape is the yellow thing?"
    plain = adafv_core.load("pocket", device="cpu")
    mark: list[str] = []
    plain.model.register_forward_pre_hook(lambda *_: mark.append("forward"))
    engine: Any = for_this_machine(plain)
    assert on_zero_gpu() and isinstance(engine, ZeroGpuEngine)

    visual = engine.encode(picture)
    scores = engine.score(visual, question)
    selection = engine.select(scores, keep_ratio=0.1)
    calls_before = len(CALLS)
    shown = [answer.text for answer in engine.stream(visual, question, selection=selection, max_new_tokens=6)]
    inside = engine.select(scores, keep_ratio=0.1, method="fastv")
    whole = engine.answer(picture, question, keep_ratio=0.1, max_new_tokens=6)
    stopped: list[Any] = []
    for answer in engine.stream(visual, question, keep_ratio=1.0, max_new_tokens=60, stop=lambda: bool(stopped)):
        stopped.append(answer)
    try:
        engine.score(visual, "   ")
        error = ""
    except PromptError as caught:
        error = str(caught)
    asked_from = len(CALLS)
    last_text = ask_twice(engine, picture, question)
    calls_of_the_page = [call for call, _ in CALLS[asked_from:]]
    said = {"no model": said_by(for_this_machine(adafv_core.load(plain.model.name_or_path, device="cpu")), picture)}
    REFUSED.append(spaces_error("ZeroGPU quota exceeded", "You have exceeded your quota."))
    said["no GPU"] = said_by(engine, picture)
    REFUSED[:] = [RuntimeError("ZeroGPU API /schedule error: 500")]
    said["no scheduler"] = said_by(engine, picture)
    REFUSED.clear()
    forwards_here, cached_here = len(mark), plain.cache.bytes
    devices = {str(value.device) for value in vars(visual).values() if isinstance(value, torch.Tensor)}

    mine = plain.answer(picture, question, keep_ratio=0.1, max_new_tokens=6)
    print(
        json.dumps(
            {
                "calls": CALLS[:asked_from],
                "forks": len(FORKS),
                "said": said,
                "calls_of_the_page": calls_of_the_page,
                "text_of_the_page": last_text,
                "select_asked_for_a_gpu": calls_before > 2,
                "texts": shown,
                "whole": whole.text,
                "plain": mine.text,
                "same_selection": selection.indices.tolist() == mine.selection.indices.tolist(),
                "fastv_kept": inside.size,
                "stopped_after": len(stopped),
                "error": error,
                "forwards_here": forwards_here,
                "cached_here": cached_here,
                "devices": sorted(devices),
                "forwards_after_asking_here": len(mark),
            }
        )
    )


def said_by(engine: Any, picture: Any) -> str:
    """The error of one call."""
    from adafv_core.errors import ModelError

    try:
        engine.encode(picture)
    except ModelError as error:
        return str(error)
    return ""


def ask_twice(engine: Any, picture: Any, prompt: str) -> str:
    """Ask as the page does, then move the slider; the pruned answer that is shown at the end."""
    from adafv_core.images import read_picture
    from app.serving.ask import AskRequest, Service
    from app.serving.models import ModelPool
    from app.serving.page_stream import page_stream
    from app.serving.sessions import Sessions
    from app.settings import Settings
    from app.wire.parse import AskSettings, TokenChoice

    pool = ModelPool("pocket", engine, lambda name: engine)
    service = Service(pool, Sessions("pocket", 10**9), Settings(), lambda key: 7)
    session = service.sessions.of("one")
    for keep_ratio in (0.25, 0.1):
        asked = AskRequest(
            read_picture(picture), prompt, "adafv", TokenChoice(keep_ratio), AskSettings(max_new_tokens=6)
        )
        *_, (_, answers, _) = page_stream(service, session, asked)
    return str(json.loads(answers)["pruned"]["text"])


if __name__ == "__main__":
    main()
