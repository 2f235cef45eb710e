"""A run about a large, noisy photograph: what the page saves, it can upload, open, ask again and save again."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from helpers.app_context import QUESTION, shared_address, shared_context
from PIL import Image, ImageChops

import adafv_core
from adafv_core.errors import InputError
from app.saved_runs.save_and_open import most_run_bytes, open_run, save_json
from app.serving.ask import AskRequest
from app.serving.page_stream import page_stream
from app.serving.sessions import Session
from app.settings import Settings
from app.wire.images import open_image, picture_file
from app.wire.parse import AskSettings, PageState, TokenChoice

FEW = AskSettings(max_new_tokens=2, with_full=False)


def noise(path: Path, width: int, height: int, **options: object) -> Path:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(values).save(path, **options)
    return path


def test_a_noisy_photograph_of_12_megapixels_comes_back(tmp_path: Path) -> None:
    context, session, other = shared_context(), Session("pocket"), Session("pocket")
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = noise(tmp_path / "photo.jpg", 4000, 3000, exif=exif)
    picture = context.service.picture(photo)
    list(page_stream(context.service, session, AskRequest(picture, QUESTION, "adafv", TokenChoice(0.1), FEW)))
    path = Path(save_json(context, session, PageState()))
    with urllib.request.urlopen(f"{shared_address()}/config", timeout=30) as answer:
        assert path.stat().st_size <= json.load(answer)["max_file_size"] == most_run_bytes(context.settings)
    assert adafv_core.read_run(path.read_text(encoding="utf-8")).picture == photo.read_bytes()
    opened = open_run(context, other, path)
    back = context.service.picture(opened.picture_path)
    assert back.key == picture.key and back.image.size == (3000, 4000)
    assert ImageChops.difference(back.image, picture.image).getbbox() is None
    assert Path(save_json(context, other, PageState())).read_bytes() == path.read_bytes()


def test_a_picture_is_a_png_where_that_is_small_enough(tmp_path: Path) -> None:
    settings = Settings(max_image_bytes=60_000)
    photo = noise(tmp_path / "photo.webp", 200, 150, quality=50)
    picture = open_image(photo, settings)
    assert picture_file(picture, settings.max_image_bytes) == ("image/webp", photo.read_bytes())
    kind, data = picture_file(picture, 200_000)
    assert kind == "image/png" and data[:4] == b"\x89PNG"
    small = open_image(noise(tmp_path / "small.png", 100, 100), settings)
    assert picture_file(small, 0)[0] == "image/png" and not small.info


def test_a_run_that_could_not_be_opened_is_not_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session("pocket")
    monkeypatch.setattr("app.saved_runs.save_and_open.most_run_bytes", lambda settings: 1_000)
    with pytest.raises(InputError, match="can be opened again"):
        save_json(shared_context(), session, PageState())
