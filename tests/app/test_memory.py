"""Memory: large pictures are reduced where the model shrinks them anyway, what is held is counted, what is freed goes
back to the system."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.app_context import QUESTION, question, scene_path, shared_context
from helpers.models_shared import engine_of
from helpers.resident import resident_bytes
from helpers.tiny_models import FAMILIES
from PIL import Image

from adafv_core import load, read_run
from adafv_core.memory import return_freed_memory, tensor_bytes
from app.saved_runs.save_and_open import open_run, save_json
from app.serving.ask import AskRequest
from app.serving.page_stream import page_stream
from app.serving.sessions import Session
from app.wire.images import FULL_PIXELS, open_image
from app.wire.parse import AskSettings, PageState, TokenChoice

FEW = AskSettings(max_new_tokens=2)
KINDS = {"jpg": {"quality": 90}, "png": {"compress_level": 1}, "webp": {"quality": 60, "method": 0}}


def large(path: Path, width: int, height: int, **options: object) -> Path:
    """A picture of soft shapes with detail of every size, as a camera makes them."""
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (height // 20, width // 20, 3), dtype=np.uint8))
    way = Image.Resampling.NEAREST if path.suffix == ".png" else Image.Resampling.BILINEAR  # else a PNG is too large
    small.resize((width, height), way).save(path, **options)
    return path


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pictures of 40 megapixels, one of each format."""
    folder = tmp_path_factory.mktemp("large")
    return {kind: large(folder / f"photo.{kind}", 7300, 5460, **KINDS[kind]) for kind in KINDS}


def ask(session: Session, picture: object, prompt: str = QUESTION) -> None:
    request = AskRequest(picture, prompt, "adafv", TokenChoice(0.1), FEW)  # type: ignore[arg-type]
    assert list(page_stream(shared_context().service, session, request))[-1].answers


@pytest.mark.parametrize("kind", KINDS)
def test_40_megapixels_are_decoded_at_half_their_size(kind: str, photographs: dict[str, Path]) -> None:
    """What the model sees stays within half a level of 255 on average."""
    service = shared_context().service
    engine = service.pool.engine("pocket")
    reduced = service.picture(photographs[kind], "pocket").image
    assert reduced.size == (3650, 2730) and engine.kept_pixels is not None
    assert min(reduced.size) >= 2 * engine.kept_pixels**0.5
    whole = open_image(photographs[kind], service.settings)
    assert whole.size == (7300, 5460)
    here = load("pocket", device="cpu")
    seen = [here.adapter.pixels([one])["pixel_values"] for one in (whole, reduced)]
    levels = 255 * max(here.processor.image_processor.image_std)
    assert float((seen[0] - seen[1]).abs().mean()) * levels < 0.5


def test_only_what_every_encoder_shrinks_is_reduced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    service = shared_context().service
    monkeypatch.setattr("app.wire.images.FULL_PIXELS", 200_000)
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in KINDS:
        photo = large(tmp_path / f"turned.{kind}", 801, 599, exif=exif, **KINDS[kind])
        sizes = {kept: open_image(photo, service.settings, kept).size for kept in (1_000, 22_000, 23_000, None)}
        assert sizes == {1_000: (300, 401), 22_000: (300, 401), 23_000: (599, 801), None: (599, 801)}
        assert open_image(photo, service.settings, 100, size=(599, 801)).size == (599, 801)
    huge = large(tmp_path / "huge.jpg", 1_200, 800, quality=90)
    assert open_image(huge, service.settings, 1_000).size == (300, 200)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_keeps_no_more_pixels_than_it_says(family: str) -> None:
    engine = engine_of(family)
    assert engine.kept_pixels is not None
    for size in ((900, 900), (1_200, 300), (300, 1_200)):
        pixels = engine.adapter.pixels([Image.new("RGB", size, "navy")])["pixel_values"]
        shown = pixels[:, 1:] if pixels.dim() == 5 and pixels.shape[1] > 1 else pixels  # without the overview
        assert shown.numel() // 3 <= 1.6 * engine.kept_pixels


@pytest.mark.parametrize("most_bytes", [400_000, 4_000_000], ids=["the original file", "a PNG"])
def test_a_run_about_a_reduced_picture_is_saved_and_opened(
    most_bytes: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("app.wire.images.FULL_PIXELS", 1_000_000)
    shared = shared_context()
    settings = replace(shared.settings, max_image_bytes=most_bytes)
    context = replace(shared, settings=settings, service=replace(shared.service, settings=settings))
    session, other = Session("pocket"), Session("pocket")
    photo = large(tmp_path / "photo.jpg", 1600, 1200, quality=80)
    picture = context.service.picture(photo, "pocket")
    ask(session, picture)
    path = Path(save_json(context, session, PageState()))
    assert (read_run(path.read_bytes()).picture == photo.read_bytes()) is (most_bytes == 400_000)
    open_run(context, other, path)
    assert other.run is not None and other.run.picture.size == picture.image.size == (800, 600)
    assert Path(save_json(context, other, PageState())).read_bytes() == path.read_bytes()


def test_pixels_file_bytes_and_answers_of_a_session_are_counted(photographs: dict[str, Path]) -> None:
    session = Session("pocket")
    ask(session, shared_context().service.picture(photographs["jpg"], "pocket"))
    assert session.run is not None and session.run.full is not None
    pixels, file = 4 * 3650 * 2730, photographs["jpg"].stat().st_size
    rest = session.size_bytes - pixels - file
    assert rest == tensor_bytes(session.scores, session.run.selection, session.run.pruned, session.run.full) > 100_000
    held = session.size_bytes
    session.full.clear()
    session.run = replace(session.run, full=None, pruned=None)
    assert session.size_bytes < held


def test_one_question_converts_and_hashes_a_picture_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from adafv_core import images

    path, hashed = scene_path(), list[tuple[int, int]]()
    stock = images._key
    monkeypatch.setattr(images, "_key", lambda rgb: hashed.append(rgb.size) or stock(rgb))
    ask(Session("pocket"), shared_context().service.picture(path))
    assert len(hashed) == 1


@pytest.fixture
def at_rest() -> Iterator[int]:
    """Resident bytes once everything has been used for the first time."""
    sessions = shared_context().service.sessions
    for number in range(10):
        ask(sessions.of("warm"), question(index=10 + number).picture)
    sessions.leave("warm")
    gc.collect()
    return_freed_memory()
    yield resident_bytes()


@pytest.mark.alone
def test_memory_is_back_after_uploads_of_40_megapixels(at_rest: int, photographs: dict[str, Path]) -> None:
    """Within 10 % once the sessions are gone; while they are held, it is what is counted."""
    service = shared_context().service
    names = [f"large-{number}" for number in range(9)]
    for name, kind in zip(names, 3 * list(KINDS), strict=True):
        ask(service.sessions.of(name), service.picture(photographs[kind], "pocket"))
    counted = sum(service.sessions.of(name).size_bytes for name in names)
    assert counted > 9 * 40_000_000
    assert resident_bytes() < 1.1 * at_rest + 1.25 * counted
    for name in names:
        service.sessions.leave(name)
    gc.collect()
    assert resident_bytes() < 1.1 * at_rest


def ask_200(first: int) -> None:
    """Ten pictures, twenty questions each, from five sessions, which then leave."""
    sessions = shared_context().service.sessions
    pictures = [question(index=10 + number).picture for number in range(10)]
    for number in range(200):
        ask(sessions.of(f"many-{number % 5}"), pictures[number % 10], f"{QUESTION} ({first + number})")
    for number in range(5):
        sessions.leave(f"many-{number}")
    gc.collect()
    return_freed_memory()


@pytest.mark.alone
def test_200_questions_grow_the_process_by_less_than_5_percent() -> None:
    """After as many before them: the allocator's arenas and the kernels for each length of text are in place then."""
    ask_200(0)
    at_rest = resident_bytes()
    ask_200(200)
    assert resident_bytes() < 1.05 * at_rest


def test_pictures_below_the_limit_are_never_reduced(tmp_path: Path) -> None:
    photo = large(tmp_path / "photo.jpg", 4000, 3000, quality=80)
    picture = shared_context().service.picture(photo, "pocket")
    assert picture.image.size == (4000, 3000) and FULL_PIXELS > 4000 * 3000
