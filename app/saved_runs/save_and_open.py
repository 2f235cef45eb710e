"""Saves the run that a page shows, as a picture or as JSON, and opens a saved one."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from adafv_core import __version__
from adafv_core.checks import budget_from_keep_ratio
from adafv_core.engine.several_images import rejoined, rejoined_scores
from adafv_core.errors import InputError
from adafv_core.methods import METHODS, get_method
from adafv_core.saved_run import SavedImage, SavedRun, read_run, write_run
from adafv_core.types import Answer, Selection, TokenScores
from app.context import AppContext
from app.saved_runs.overlay import Maps, overlay_sheet, stacked
from app.serving.ask import subject_of
from app.serving.page_stream import page_payload
from app.serving.sessions import FromFile, Run, Session
from app.settings import Settings
from app.wire.images import picture_file
from app.wire.parse import AskSettings, PageState, TokenChoice
from app.wire.views import CONVENTION, answer_view, compare


@dataclass(frozen=True)
class OpenedRun:
    """What the page needs to show a saved run. payload, answers: JSON texts. settings: those under More."""

    payload: str
    answers: str
    picture_path: str
    more_paths: list[str]
    prompt: str
    method: str
    note: str
    settings: AskSettings


def shown_run(
    context: AppContext, session: Session, state: PageState
) -> tuple[Run, TokenChoice, tuple[Selection, ...]]:
    """The run on the session's page, with the choice and each image's selection at the slider. Raises InputError if it
    is gone.

    state: names the run that is shown; the session's last one if it names none.
    """
    key = state.payload_key
    held = [run for run in (session.run, context.first.run) if run is not None and key in ("", run.key)]
    if not held:
        raise InputError("What the page shows is no longer held by the server: ask again, then save.")
    return held[0], state.choice, context.service.select(held[0], state.choice)


def save_png(context: AppContext, session: Session, state: PageState) -> str:
    """Write the four overlays at the image's own size, drawn as on the page; returns the path."""
    run, _, selections = shown_run(context, session, state)
    sheets = [
        overlay_sheet(picture, scores.visual.grid, Maps.of(scores, selection, state.look.word), state.look)
        for picture, scores, selection in zip(run.pictures, run.ranked(), selections, strict=True)
    ]
    path = context.exports.place("adafv-overlays.png")
    stacked(sheets).save(path, compress_level=1)
    return str(path)


def save_json(context: AppContext, session: Session, state: PageState) -> str:
    """Write the whole run as JSON; returns the path. Raises InputError if the file would be too large to open."""
    run, choice, selections = shown_run(context, session, state)
    text = write_run(saved_run(run, choice, selections, context.settings.max_image_bytes))
    most = most_run_bytes(context.settings)
    if len(text) > most:
        raise InputError(
            f"This run would be a file of {len(text) / 1e6:.1f} MB; at most {most / 1e6:.1f} MB can be opened again. "
            "Ask a shorter question, or send a smaller picture."
        )
    return context.exports.write("adafv-run.json", text)


def most_run_bytes(settings: Settings) -> int:
    """The largest run file: the largest image file in base64, and 24 MB of scores (690 words × 2,880 tokens)."""
    return settings.max_image_bytes * 4 // 3 + 24_000_000


def saved_run(run: Run, choice: TokenChoice, selections: Sequence[Selection], most_picture_bytes: int) -> SavedRun:
    """A run with the selection of each image at `choice`, as it is saved.

    Its scores are those the method ranked by. The pruned answer is kept only if it was made with this selection.
    most_picture_bytes: the largest image file that can be opened.
    """
    own = bool(run.selections) and all(map(_same_tokens, run.selections, selections))
    first, *more = [
        SavedImage(scores, selection, picture_file(picture, most_picture_bytes)[1])
        for scores, selection, picture in zip(run.ranked(), selections, run.pictures, strict=True)
    ]
    return SavedRun(
        model=run.model,
        revision=run.revision,
        versions=run.from_file.versions if run.from_file else installed_versions(),
        prompt=run.prompt,
        method=run.method,
        options=run.options,
        keep_ratio=choice.keep_ratio,
        force_keep=choice.force_keep,
        force_drop=choice.force_drop,
        scores=first.scores,
        selection=first.selection,
        answers=_saved_answers(run.from_file.answers, own) if run.from_file else _answers(run, own),
        picture=first.picture,
        max_new_tokens=run.max_new_tokens,
        more=tuple(more),
        share=run.share if more else "image",
    )


def installed_versions() -> dict[str, str]:
    """Versions of the packages that compute a run."""
    return {"adafv": __version__, **{name: version(name) for name in ("torch", "transformers", "gradio")}}


def _answers(run: Run, own: bool) -> dict[str, Any]:
    """own: whether the pruned answer belongs to the saved selection."""
    pruned = run.pruned if own else None
    return {"pruned": _answer(pruned), "full": _answer(run.full), **compare(pruned, run.full)}


def _saved_answers(answers: Mapping[str, Any], own: bool) -> dict[str, Any]:
    return dict(answers) if own else {**answers, "pruned": None, **compare(None, None)}


def _answer(answer: Answer | None) -> dict[str, Any] | None:
    return answer_view(answer, "done" if answer.finished else "stopped") if answer else None


def _same_tokens(one: Selection, other: Selection) -> bool:
    return one.budget == other.budget and torch.equal(one.indices.cpu(), other.indices.cpu())


def open_run(context: AppContext, session: Session, path: str | Path, number: int = 0) -> OpenedRun:
    """Read a saved run and show it in the session. Raises InputError that says what is wrong with the file.

    An answer in progress is stopped once the file proves valid. number: of this request, as counted by the page.
    """
    saved, paths = read_saved(context, path)
    pictures = [
        context.service.picture(path, size=image.scores.visual.grid.image_size)
        for path, image in zip(paths, saved.images, strict=True)
    ]
    known = METHODS[saved.method].__dataclass_fields__
    options = {name: value for name, value in saved.options.items() if name in known and not name.startswith("force")}
    all_scores = [one.scores for one in saved.images]
    selections = tuple(one.selection for one in saved.images)
    together = rejoined_scores(all_scores) if saved.share == "all" and saved.more else None
    picture, *more = [one.image for one in pictures]
    run = Run(
        picture,
        saved.scores,
        saved.prompt,
        saved.method,
        options,
        saved.model,
        saved.selection.positions,
        saved.revision,
        selections,
        max_new_tokens=saved.max_new_tokens,
        subject=subject_of(saved.model, [one.key for one in pictures], sum(one.size for one in all_scores)),
        more_pictures=tuple(more),
        more_scores=tuple(all_scores[1:]),
        share=saved.share,
        together=together,
    )
    if together is not None:
        budget = budget_from_keep_ratio(saved.keep_ratio, together.size)
        selections = (rejoined(selections, budget, together.visual),)
    run.from_file = FromFile(saved.versions, saved.answers, () if _selects_again(saved, run.units) else selections)
    choice = TokenChoice(saved.keep_ratio, saved.force_keep, saved.force_drop)
    for at, (again, one) in enumerate(zip(context.service.select(run, choice), run.selections, strict=True)):
        if not torch.equal(again.indices, one.indices):
            path = "selection.kept" if at == 0 else f"more_images[{at - 1}].selection.kept"
            raise InputError(f"This saved run is damaged: {path}: these are not the tokens that its scores give.")
    run.key = f"file/{pictures[0].key}/{uuid.uuid4().hex}"
    body = page_payload(context.service, run, choice)
    session.asking.supersede(number)
    session.run, session.shown_key = run, ""
    answers = {**saved.answers, "method_title": METHODS[saved.method].title, "convention": CONVENTION, "asked": number}
    note = f"Opened a saved run of {saved.model}; ask again to run it on this page."
    settings = settings_of(saved, context.settings)
    first, *others = map(str, paths)
    return OpenedRun(body, json.dumps(answers), first, others, saved.prompt, saved.method, note, settings)


def _selects_again(saved: SavedRun, units: Sequence[TokenScores]) -> bool:
    """Whether the method can select from the saved scores alone, so that the slider moves as for a new question."""
    known = METHODS[saved.method].__dataclass_fields__
    try:
        method = get_method(saved.method, **{name: value for name, value in saved.options.items() if name in known})
        for unit in units:
            method.select(unit, budget_from_keep_ratio(saved.keep_ratio, unit.size))
    except InputError:
        return False
    return True


def settings_of(saved: SavedRun, settings: Settings) -> AskSettings:
    """The settings under More with which a saved run was asked; defaults for what its file does not give."""
    asked = {**AskSettings().options_for(saved.method), **saved.options}
    known = {name: asked[name] for name in AskSettings().options_for(saved.method)}
    most = min(saved.max_new_tokens or AskSettings.max_new_tokens, settings.max_new_tokens)
    positions = saved.selection.positions or AskSettings.positions
    with_full = saved.answers["full"] is not None
    return AskSettings(**known, positions=positions, max_new_tokens=most, with_full=with_full, share=saved.share)


def read_saved(context: AppContext, path: str | Path) -> tuple[SavedRun, list[Path]]:
    """The saved run in an uploaded file, and its pictures as files. Raises InputError that says what is wrong."""
    file = Path(path)
    if file.stat().st_size > most_run_bytes(context.settings):
        raise InputError("This file is too large to be a saved run.")
    saved = read_run(file.read_bytes())
    paths = []
    for at, one in enumerate(saved.images):
        size = one.scores.visual.grid.image_size
        picture_path = context.exports.place(f"picture.{one.picture_type}")
        picture_path.write_bytes(one.picture)
        picture = context.service.picture(picture_path, size=size).image
        if picture.size != size:
            path_of = "" if at == 0 else f"more_images[{at - 1}]."
            raise InputError(
                f"This saved run is damaged: {path_of}grid.image_size: expected the picture's {picture.width} × "
                f"{picture.height} pixels, got {' × '.join(map(str, size))}."
            )
        paths.append(picture_path)
    return saved, paths
