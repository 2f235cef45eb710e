"""The first screen, prepared before the page opens: examples, and one of them already asked and answered."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from adafv_core.engine.backend import Backend
from adafv_core.images import read_picture
from app.serving.ask import AskRequest, Service
from app.serving.page_stream import page_stream
from app.serving.scenes import SceneFolder, ShownScene
from app.serving.sessions import Run, Session
from app.wire.parse import AskSettings, TokenChoice
from app.wire.views import notice

EXAMPLES = (7, 10, 19, 25, 35, 43)
KEEP_RATIO = 0.1


@dataclass(frozen=True)
class FirstScreen:
    """Values of the page's components when it opens."""

    picture_path: Path
    prompt: str
    questions: tuple[str, ...]
    payload: str
    answers: str
    notice: str
    examples: str
    scenes: tuple[ShownScene, ...]
    run: Run | None


def warm_up(engine: Backend) -> None:
    """One pruned and one full generation, so that a model's first real answers are not slowed by its start."""
    gray = Image.new("RGB", (64, 64), "gray")
    for method, keep_ratio in (("adafv", KEEP_RATIO), ("full", 1.0)):
        for _ in engine.stream(gray, "What is this?", keep_ratio=keep_ratio, method=method, max_new_tokens=2):
            pass


def first_screen(service: Service, scenes: SceneFolder) -> FirstScreen:
    """Ask about the first example as the page would: once to warm the model up, once for the answer that is shown."""
    examples = tuple(scenes.scene(index) for index in EXAMPLES)
    first = examples[0]
    prompt = first.questions[0][0]
    settings = AskSettings(max_new_tokens=service.settings.answer_tokens)
    request = AskRequest(read_picture(first.picture), prompt, "adafv", TokenChoice(KEEP_RATIO), settings)
    warm = Session(service.pool.first)
    list(page_stream(service, warm, request))
    session = Session(service.pool.first, scores=warm.scores)
    updates = list(page_stream(service, session, request))
    payload, last = updates[0].payload or "", updates[-1]
    body = json.loads(payload) if payload else None
    if body is not None:
        body["set_choice"] = True
    return FirstScreen(
        first.path,
        prompt,
        tuple(text for text, _ in first.questions),
        json.dumps(body, separators=(",", ":")) if body else "",
        last.answers,
        last.notice or updates[0].notice or notice(),
        examples_text(examples),
        examples,
        session.run,
    )


def examples_text(shown: tuple[ShownScene, ...]) -> str:
    """The example buttons as JSON text."""
    entries = [{"picture": _thumbnail(scene.picture), "question": scene.questions[0][0]} for scene in shown]
    return json.dumps({"examples": entries})


def _thumbnail(picture: Image.Image) -> str:
    small = picture.resize((96, 96), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
