"""Saves the run a visitor looks at, as a picture or as JSON, and opens a saved one."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adafv_core.errors import InputError
from adafv_core.methods import METHODS
from adafv_core.scoring import rescored_t2i
from adafv_core.types import Selection
from app.handlers import Question
from app.inputs import Choice, More, read_choice
from app.overlay import Maps, overlay_sheet
from app.payload import payload
from app.records import read_record, run_record, scores_of, write_picture
from app.site import Site
from app.views import CONVENTION
from app.visits import Run, Visit

NEEDS_FEATURES = "This run was made with {method}, whose choice cannot be made again from scores alone: ask it anew."


@dataclass(frozen=True)
class Opened:
    """A saved run as the page takes it: payload and answers are JSON texts."""

    payload: str
    answers: str
    picture_path: str
    prompt: str
    method: str
    note: str


def looked_at(site: Site, visit: Visit, keep: Any) -> tuple[Run, Choice, Selection]:
    """The run on the visitor's page, at the slider's place. Raises InputError where there is none."""
    run = visit.run or site.first.run
    if run is None:
        raise InputError("There is nothing to save yet: ask a question first.")
    choice = read_choice(keep)
    return run, choice, site.desk.select(run, choice)


def save_png(site: Site, visit: Visit, keep: Any) -> str:
    """Write the four overlays at the image's own size; returns the path."""
    run, _, selection = looked_at(site, visit, keep)
    temperature = float(run.options.get("temperature", run.scores.temperature))
    t2i = rescored_t2i(run.scores, temperature, str(run.options.get("text_tokens", "question")))
    maps = Maps(
        *(values.detach().cpu().float().numpy() for values in (t2i, run.scores.saliency, selection.mixed)),
        kept=selection.kept.cpu().numpy(),
        why=selection.why.cpu().numpy().astype(np.int8),
    )
    path = site.exports.place("adafv-overlays.png")
    overlay_sheet(run.picture, run.scores.visual.grid, maps).save(path)
    return str(path)


def save_json(site: Site, visit: Visit, keep: Any) -> str:
    """Write the whole run as JSON; returns the path."""
    run, choice, selection = looked_at(site, visit, keep)
    revision = getattr(site.desk.garage.engine(run.model), "revision", None)
    record = run_record(run, choice, selection, revision)
    return site.exports.write("adafv-run.json", json.dumps(record, allow_nan=False))


def open_run(site: Site, visit: Visit, path: str | Path) -> Opened:
    """Read a saved run and make it the visitor's own. Raises InputError that says what is wrong with the file."""
    file = Path(path)
    if file.stat().st_size > 4 * site.settings.max_image_bytes:
        raise InputError("This file is too large to be a saved run.")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError("This file is not text: choose a JSON file that was saved here.") from None
    record = read_record(text)
    picture_path = site.exports.place("picture.png")
    write_picture(record, picture_path)
    picture, key = site.desk.picture(picture_path)
    scores, method = scores_of(record), record["method"]
    if METHODS[method]().inside_llm or method in ("visionzip", "vispruner", "divprune"):
        raise InputError(NEEDS_FEATURES.format(method=method))
    choice = read_choice(json.dumps({name: record[name] for name in ("keep_ratio", "force_keep", "force_drop")}))
    known = METHODS[method].__dataclass_fields__
    options = {
        name: value for name, value in record["options"].items() if name in known and not name.startswith("force")
    }
    run = Run(picture, scores, record["prompt"], method, options, str(record["model"]))
    run.selection = site.desk.select_scores(scores, choice, method, options)
    question = Question(picture, key, run.prompt, method, choice, More())
    body = payload(
        scores, picture, lambda budget: site.desk.select_scores(scores, Choice(budget / scores.size), method, options),
        method, options, choice.keep_ratio, f"file/{key}/{uuid.uuid4().hex}", (choice.force_keep, choice.force_drop),
    )  # fmt: skip
    visit.shown_key, visit.picture_key = "", question.picture_key
    answers = {**record["answers"], "method_title": method, "convention": CONVENTION}
    note = f"Opened a saved run of {record['model']}; ask again to run it here."
    return Opened(body, json.dumps(answers), str(picture_path), run.prompt, method, note)
