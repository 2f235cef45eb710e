"""Saves the run a visitor looks at, as a picture or as JSON, and opens a saved one."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from adafv_core.errors import InputError
from adafv_core.methods import METHODS
from adafv_core.saved_run import SavedRun, read_run
from adafv_core.types import Selection
from app.context import AppContext
from app.saved_runs.overlay import Maps, overlay_sheet
from app.saved_runs.write import run_record
from app.serving.ask import subject_of
from app.serving.opened import more_of
from app.serving.sessions import FromFile, Run, Session
from app.settings import Settings
from app.wire.look import read_look
from app.wire.parse import AskSettings, TokenChoice, read_choice, read_shown
from app.wire.views import CONVENTION, ranked


@dataclass(frozen=True)
class Opened:
    """A saved run as the page takes it: payload and answers are JSON texts, more the folded settings."""

    payload: str
    answers: str
    picture_path: str
    prompt: str
    method: str
    note: str
    more: AskSettings


def looked_at(context: AppContext, session: Session, keep: Any) -> tuple[Run, TokenChoice, Selection]:
    """The run on the visitor's page, at the slider's place. Raises InputError where the server does not hold it.

    keep: names the run that is shown; where it names none, the visitor's last one is taken.
    """
    shown = read_shown(keep).key
    held = [run for run in (session.run, context.first.run) if run is not None and shown in ("", run.key)]
    if not held:
        raise InputError("What the page shows is no longer held by the server: ask again, then save.")
    run = held[0]
    choice = read_choice(keep)
    return run, choice, context.service.select(run, choice)


def save_png(context: AppContext, session: Session, keep: Any) -> str:
    """Write the four overlays at the image's own size, in the page's look; returns the path."""
    look = read_look(keep)
    run, _, selection = looked_at(context, session, keep)
    scores = ranked(run.scores, run.options)
    maps = Maps.of(scores, selection, look.word)
    path = context.exports.place("adafv-overlays.png")
    overlay_sheet(run.picture, scores.visual.grid, maps, look).save(path, compress_level=1)
    return str(path)


def save_json(context: AppContext, session: Session, keep: Any) -> str:
    """Write the whole run as JSON; returns the path. Raises InputError where the file could not be opened again."""
    record = run_record(*looked_at(context, session, keep), most_picture_bytes=context.settings.max_image_bytes)
    text, most = json.dumps(record, allow_nan=False), most_run_bytes(context.settings)
    if len(text) > most:
        raise InputError(
            f"This run would be a file of {len(text) / 1e6:.1f} MB; at most {most / 1e6:.1f} MB can be opened again. "
            "Ask a shorter question, or send a smaller picture."
        )
    return context.exports.write("adafv-run.json", text)


def most_run_bytes(settings: Settings) -> int:
    """The largest run file: a picture file of the largest size taken, in base64, and twice its room for the scores."""
    return 4 * settings.max_image_bytes


def open_run(context: AppContext, session: Session, path: str | Path, number: int = 0) -> Opened:
    """Read a saved run and make it the visitor's own. Raises InputError that says what is wrong with the file.

    A question that is being answered ends as soon as the file proves good. number: of this, as the page counts what
    it asks.
    """
    saved, picture_path = read_saved(context, path)
    picture, key = context.service.picture(picture_path)
    known = METHODS[saved.method].__dataclass_fields__
    options = {name: value for name, value in saved.options.items() if name in known and not name.startswith("force")}
    run = Run(
        picture,
        saved.scores,
        saved.prompt,
        saved.method,
        options,
        saved.model,
        saved.revision,
        saved.selection,
        from_file=FromFile(saved.versions, saved.answers),
        max_new_tokens=saved.max_new_tokens,
        subject=subject_of(f"{saved.model}/{key}", saved.scores.size),
    )
    choice = TokenChoice(saved.keep_ratio, saved.force_keep, saved.force_drop)
    if not torch.equal(context.service.select(run, choice).indices, saved.selection.indices):
        raise InputError("This saved run is damaged: its kept tokens are not those that its scores give.")
    run.key = f"file/{key}/{uuid.uuid4().hex}"
    body = context.service.payload(run, choice, run.key)
    session.order(number)
    session.run, session.shown_key = run, ""
    answers = {**saved.answers, "method_title": saved.method, "convention": CONVENTION, "asked": number}
    note = f"Opened a saved run of {saved.model}; ask again to run it here."
    more = more_of(saved, context.settings)
    return Opened(body, json.dumps(answers), str(picture_path), saved.prompt, saved.method, note, more)


def _kind(picture: bytes) -> str:
    return "jpg" if picture[:2] == b"\xff\xd8" else "webp" if picture[:4] == b"RIFF" else "png"


def read_saved(context: AppContext, path: str | Path) -> tuple[SavedRun, Path]:
    """The saved run in a file that was sent, and its picture as a file. Raises InputError that says what is wrong."""
    saved = read_run(_text(Path(path), most_run_bytes(context.settings)))
    picture_path = context.exports.place(f"picture.{_kind(saved.picture)}")
    picture_path.write_bytes(saved.picture)
    picture, _ = context.service.picture(picture_path)
    if picture.size != saved.scores.visual.grid.image_size:
        raise InputError("This saved run is damaged: its picture has not the size that its scores are of.")
    return saved, picture_path


def _text(file: Path, most_bytes: int) -> str:
    if file.stat().st_size > most_bytes:
        raise InputError("This file is too large to be a saved run.")
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError("This file is not text: choose a JSON file that was saved here.") from None
